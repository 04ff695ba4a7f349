// Shows one of the previews of a training at a time, chosen with a slider; the next one goes on at
// the same moment, so that sliding compares the same mouth. A button below plays it, because the
// browser's own controls would cover the lowest row. Without scripts all are shown, with controls.
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

  // A button that plays or pauses the video that is shown.
  function player(videos, current) {
    const button = document.createElement("button");
    button.type = "button";
    const tell = () => { button.textContent = current().paused ? "Play" : "Pause"; };
    button.addEventListener("click", () => (current().paused ? current().play() : current().pause()));
    for (const video of videos) {
      video.controls = false;
      video.preload = "auto";
      video.addEventListener("play", tell);
      video.addEventListener("pause", tell);
    }
    tell();
    return button;
  }

  function connect(figure) {
    const moments = [...figure.querySelectorAll(".moment")];
    if (moments.length < 2) return;
    const input = slider(moments.length), label = document.createElement("label");
    const bar = document.createElement("div");
    bar.className = "scrub";
    label.append("Training step", input);
    let shown = moments.length - 1;

    function show(index) {
      const before = moments[shown].querySelector("video");
      const after = moments[index].querySelector("video");
      const playing = !before.paused;
      before.pause();
      if (before !== after) {
        after.currentTime = before.currentTime;
        if (playing) after.play();
      }
      moments.forEach((each, place) => { each.hidden = place !== index; });
      input.setAttribute("aria-valuetext", `step ${moments[index].dataset.step}`);
      shown = index;
    }

    input.addEventListener("input", () => show(Number(input.value)));
    const videos = moments.map((each) => each.querySelector("video"));
    bar.append(player(videos, () => videos[shown]), label);
    figure.prepend(bar);
    figure.classList.add("live");
    show(shown);
  }

  document.querySelectorAll(".previews").forEach(connect);
})();
