// Draws the figures that have points (data-chart) with uPlot: values under the cursor, zoom by
// dragging, lines switched by their legend. Colors come from the style sheet by the static picture.
(() => {
  "use strict";
  const NUMBER = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });

  function look(box, mark) {
    const path = box.querySelector(`svg .line.${mark}`) || box.querySelector(`svg .dot.${mark}`);
    const style = path ? getComputedStyle(path) : null;
    const color = style ? (style.stroke !== "none" ? style.stroke : style.fill) : "gray";
    return { color, alpha: style ? Number(style.opacity) : 1 };
  }

  function variable(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  // Dashed lines with names: references across, marks upright.
  function annotate(plot, chart) {
    const { ctx, bbox } = plot, ratio = devicePixelRatio || 1;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top - 14 * ratio, bbox.width, bbox.height + 14 * ratio);
    ctx.clip();
    ctx.strokeStyle = ctx.fillStyle = variable("--soft");
    ctx.lineWidth = ratio;
    ctx.font = `${10.5 * ratio}px system-ui, sans-serif`;
    ctx.setLineDash([5 * ratio, 4 * ratio]);
    for (const [y, name] of chart.references) {
      const at = plot.valToPos(y, "y", true);
      line(ctx, bbox.left, at, bbox.left + bbox.width, at);
      ctx.textAlign = "right";
      const above = at - bbox.top > 14 * ratio;
      label(ctx, name, bbox.left + bbox.width - 2 * ratio, at + (above ? -4 : 12) * ratio, ratio);
    }
    for (const [x, name] of chart.marks) {
      const at = plot.valToPos(x, "x", true);
      line(ctx, at, bbox.top, at, bbox.top + bbox.height);
      ctx.textAlign = at - bbox.left > bbox.width / 2 ? "right" : "left";
      label(ctx, name, at, bbox.top - 4 * ratio, ratio);
    }
    ctx.restore();
  }

  function line(ctx, x0, y0, x1, y1) {
    ctx.beginPath();
    ctx.moveTo(x0, y0);
    ctx.lineTo(x1, y1);
    ctx.stroke();
  }

  // On a halo of the paper's color, so that it can be read on a curve.
  function label(ctx, text, x, y, ratio) {
    ctx.save();
    ctx.setLineDash([]);
    ctx.lineJoin = "round";
    ctx.lineWidth = 4 * ratio;
    ctx.strokeStyle = variable("--paper");
    ctx.strokeText(text, x, y);
    ctx.fillText(text, x, y);
    ctx.restore();
  }

  function range(chart) {
    return (plot, low, high) => {
      const values = [low, high, ...chart.references.map(([y]) => y)].filter((y) => y !== null);
      const least = Math.min(...values), most = Math.max(...values);
      const pad = (most - least || Math.abs(most) || 1) * 0.06;
      return [least >= 0 ? Math.max(0, least - pad) : least - pad, most + pad];
    };
  }

  function options(box, chart, hooks) {
    const axis = { stroke: variable("--soft"), font: "10.5px system-ui, sans-serif" };
    const quiet = { stroke: variable("--hair"), width: 1 };
    const short = (plot, ticks) =>
      ticks.map((v) => (Math.abs(v) >= 10000 ? `${NUMBER.format(v / 1000)}k` : NUMBER.format(v)));
    return {
      width: box.clientWidth,
      height: Math.round((box.clientWidth * 200) / 360),
      legend: { show: false },
      scales: { x: { time: false }, y: { range: range(chart) } },
      cursor: { y: false, drag: { x: true, y: false, dist: 5 } },
      axes: [
        { ...axis, grid: { show: false }, ticks: quiet, label: "step", labelFont: axis.font,
          labelSize: 14, size: 26, values: short },
        { ...axis, grid: quiet, ticks: { show: false }, size: 46, values: short },
      ],
      series: [
        {},
        ...chart.lines.map(({ name, mark, y }) => {
          const { color, alpha } = look(box, mark);
          const few = y.filter((value) => value !== null).length < 2;
          return { label: name, stroke: color, alpha, width: 2, spanGaps: true,
            points: { show: few, fill: color } };
        }),
      ],
      hooks,
    };
  }

  // The legend's entries become buttons that switch their lines and tell the value at the cursor.
  function buttons(figure, chart, plotOf) {
    const found = [];
    figure.querySelectorAll(".legend > span").forEach((entry, index) => {
      if (index >= chart.lines.length) return;
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("aria-pressed", "true");
      button.append(...entry.childNodes);
      const text = button.lastChild, idle = text.textContent;
      button.addEventListener("click", () => {
        const show = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(show));
        plotOf().setSeries(index + 1, { show });
      });
      entry.replaceChildren(button);
      found.push((value) => {
        text.textContent = value === null ? idle : `${chart.lines[index].name} ${value}`;
      });
    });
    return found;
  }

  function draw(box) {
    const chart = JSON.parse(box.dataset.chart), figure = box.closest("figure");
    const svg = box.querySelector("svg");
    const holder = document.createElement("div");
    holder.setAttribute("role", "img");
    holder.setAttribute("aria-label", svg.getAttribute("aria-label"));
    const reset = document.createElement("button");
    reset.type = "button";
    reset.className = "reset";
    reset.textContent = "Whole curve";
    reset.hidden = true;
    const step = document.createElement("span");
    step.className = "step";
    let plot = null;
    const set = buttons(figure, chart, () => plot);
    const whole = () => [chart.x[0], chart.x[chart.x.length - 1]];
    const hooks = {
      draw: [(own) => annotate(own, chart)],
      setCursor: [(own) => {
        const at = own.cursor.idx;
        step.textContent = at == null ? "" : `step ${NUMBER.format(chart.x[at])}`;
        set.forEach((show, index) => {
          const value = at == null ? null : own.data[index + 1][at];
          show(value == null ? null : NUMBER.format(value));
        });
      }],
      setScale: [(own, key) => {
        if (key !== "x") return;
        const [first, last] = whole();
        reset.hidden = own.scales.x.min <= first && own.scales.x.max >= last;
      }],
    };
    reset.addEventListener("click", () => {
      const [min, max] = whole();
      plot.setScale("x", { min, max });
    });
    const data = [chart.x, ...chart.lines.map(({ y }) => y)];
    const make = () => {
      const hidden = plot ? plot.series.map((each) => each.show === false) : [];
      if (plot) plot.destroy();
      plot = new uPlot(options(box, chart, hooks), data, holder);
      hidden.forEach((off, index) => off && index && plot.setSeries(index, { show: false }));
    };
    box.append(holder, step, reset);
    make();
    box.classList.add("live");
    new ResizeObserver(() => {
      if (box.clientWidth && box.clientWidth !== plot.width) {
        plot.setSize({ width: box.clientWidth, height: Math.round((box.clientWidth * 200) / 360) });
      }
    }).observe(box);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", make);
  }

  document.querySelectorAll("[data-chart]").forEach(draw);
})();
