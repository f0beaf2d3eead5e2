// The top of the page, its switches, and its last lines.

function drawScores(state) {
  const rows = given.scores.map((row) => {
    const inner = [
      element("span", { class: "who" }, row.name),
      element(
        "span",
        { class: "track-bar" },
        element("span", { class: "p", style: `width:${100 * row.probability}%` }),
      ),
      element("span", { class: "what" }, `${(100 * row.probability).toFixed(2)} %`),
    ];
    return element("li", { class: row.followed === state.c ? "score on" : "score" }, inner);
  });
  fill("scores", element("ol", { class: "scores", "aria-label": "The most probable classes" }, rows));
}

function drawPhoto(state) {
  const [h, w] = given.cam.shape.slice(1);
  const heat = element("canvas", { class: "heat", style: `opacity:${state.heat}`, "aria-hidden": "true" });
  paintHeat(heat, numbers(given.cam, state.c), h, w);
  const slider = element("input", {
    type: "range",
    id: "heat",
    min: 0,
    max: 1,
    step: 0.05,
    value: state.heat,
    "data-key": "heat",
    oninput: (event) => {
      state.heat = Number(event.target.value);
      heat.style.opacity = state.heat;
    },
  });
  const name = given.followed[state.c];
  fill(
    "photo",
    element(
      "div",
      { class: "photo" },
      element("img", {
        src: given.photo,
        alt: `The part of ${given.image} that the network sees, with the evidence for ${name} laid over it`,
      }),
      heat,
    ),
    element(
      "figcaption",
      {},
      element("label", { for: "heat" }, `Grad-CAM: where the last stage finds evidence for ${name}`),
      slider,
    ),
  );
}

function drawDirection(state) {
  fill(
    "direction",
    roving(
      element(
        "div",
        {},
        choice("forward", "Forward: y", !state.back, () => update({ back: false })),
        choice("back", "Backward: dy", state.back, () => update({ back: true })),
      ),
    ),
  );
  fill(
    "class",
    roving(
      element(
        "div",
        {},
        given.followed.map((name, c) => choice(`class ${c}`, name, c === state.c, () => update({ c }))),
      ),
    ),
  );
}

function drawAbout() {
  const sure = given.scores[0];
  document.getElementById("title").textContent = `Inside ${given.model}`;
  document.getElementById("lead").textContent =
    `It looks at ${given.image} and says ${sure.name}, with ${(100 * sure.probability).toFixed(1)} %. Follow the image forward through its ` +
    `${given.blocks.length - 3} blocks, and a score back to the pixels. Each number is the one that npresnet computed.`;
  document
    .getElementById("about")
    .append(
      element("p", {}, given.detail),
      element(
        "p",
        {},
        `Made by npresnet ${given.version}: ${given.model}, ${given.parameters.toLocaleString("en")} parameters. This page loads nothing from anywhere. ` +
          "Outputs of ReLU, batch norm and sums, and their gradients, are worked out here from npresnet's convolutions, with the same roundings.",
      ),
    );
}
