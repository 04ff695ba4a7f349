// Shows one of the previews of a training at a time, chosen with a slider; the others wait at the
// same moment, so that sliding compares the same mouth. Without scripts all of them are shown.
(() => {
  "use strict";

  function slider(count) {
    const input = document.createElement("input");
    input.type = "range";
    input.min = 0;
    input.max = count - 1;
    input.value = count - 1;
    return input;
  }

  function connect(figure) {
    const moments = [...figure.querySelectorAll(".moment")];
    if (moments.length < 2) return;
    const input = slider(moments.length), label = document.createElement("label");
    label.className = "scrub";
    label.append("Training step", input);
    let shown = moments.length - 1;

    function show(index) {
      const before = moments[shown].querySelector("video");
      const after = moments[index].querySelector("video");
      const playing = !before.paused;
      before.pause();
      if (before !== after) {
        after.currentTime = before.currentTime;
        after.volume = before.volume;
        after.muted = before.muted;
        if (playing) after.play();
      }
      moments.forEach((each, place) => { each.hidden = place !== index; });
      input.setAttribute("aria-valuetext", `step ${moments[index].dataset.step}`);
      shown = index;
    }

    input.addEventListener("input", () => show(Number(input.value)));
    figure.prepend(label);
    figure.classList.add("live");
    show(shown);
  }

  document.querySelectorAll(".previews").forEach(connect);
})();
