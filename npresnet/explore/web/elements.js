// Making elements, and moving among them by arrow keys.

function element(tag, properties = {}, ...children) {
  const made =
    tag === "svg" || tag.startsWith("svg:")
      ? document.createElementNS("http://www.w3.org/2000/svg", tag.replace("svg:", ""))
      : document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** Put children into the element of this id; what had the focus has it again. */
function fill(id, ...children) {
  const place = document.getElementById(id);
  const key = place.contains(document.activeElement) && document.activeElement.dataset.key;
  const left = place.firstElementChild?.scrollLeft;
  place.replaceChildren(...children.flat().filter(Boolean));
  if (left) place.firstElementChild.scrollLeft = left;
  if (key) place.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
}

/** A button of a choice: pressed or not; only the pressed one is a stop of the Tab key, arrows lead to the others. */
function choice(key, label, pressed, choose, properties = {}, ...inner) {
  return element(
    "button",
    {
      type: "button",
      "data-key": key,
      "aria-pressed": String(pressed),
      tabindex: pressed ? 0 : -1,
      "aria-label": inner.length ? label : undefined,
      onclick: choose,
      ...properties,
    },
    ...(inner.length ? inner : [label]),
  );
}

const MOVES = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

/** Let arrow keys, Home and End move and press among the choices inside an element. */
function roving(group) {
  group.addEventListener("keydown", (event) => {
    const buttons = [...group.querySelectorAll("button")];
    const here = buttons.indexOf(document.activeElement);
    const to = { Home: 0, End: buttons.length - 1 }[event.key] ?? here + MOVES[event.key];
    if (here < 0 || !buttons[to]) return;
    event.preventDefault();
    const key = buttons[to].dataset.key;
    buttons[to].focus();
    buttons[to].click();
    group.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
  });
  if (!group.querySelector('[tabindex="0"]')) group.querySelector("button")?.setAttribute("tabindex", 0);
  return group;
}
