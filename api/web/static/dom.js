// Elements made in one expression. Text only ever goes in as text.

export function h(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "class") node.className = value;
    else if (name in node && name !== "list") node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `static/icons.svg#${name}`);
  svg.append(use);
  return svg;
}

let numbered = 0;

/** A field under its name. */
export function field(name, control, hint = null) {
  control.id ||= `field-${++numbered}`;
  if (hint) hint = h("small", { id: `${control.id}-hint` }, hint);
  if (hint) control.setAttribute("aria-describedby", hint.id);
  return h("div", { class: "field" }, h("label", { htmlFor: control.id }, name), control, hint);
}

/** A table that scrolls sideways where it is too wide. heads: what heads each column, text or a `th`. */
export const table = (label, heads, body, properties = {}) =>
  h(
    "div",
    { class: "wide", tabIndex: 0, role: "region", "aria-label": label },
    h("table", properties, h("thead", {}, h("tr", {}, heads.map((head) => (head instanceof HTMLTableCellElement ? head : h("th", { scope: "col" }, head))))), body),
  );

/** A section under its title. id: what the id of the title begins with, one of the page's own. */
export const titled = (id, title, ...content) =>
  h("section", { "aria-labelledby": `${id}-title` }, h("h2", { id: `${id}-title` }, title), ...content);

/** Text for who hears the page. */
export const unseen = (text) => h("span", { class: "unseen" }, text);

export const select = (options, value, properties = {}) =>
  h(
    "select",
    properties,
    options.map(([key, text]) => h("option", { value: key, selected: key === value }, text)),
  );

export const check = (text, properties = {}) => h("label", { class: "check" }, h("input", { type: "checkbox", ...properties }), text);

/**
 * A button that cannot be pressed twice while what it does is under way.
 * @param {string} text
 * @param {(button: HTMLElement) => unknown} act
 * @param {{quiet?: boolean, danger?: boolean, symbol?: string | null, [property: string]: unknown}} options
 */
export function action(text, act, { quiet = false, danger = false, symbol = null, ...properties } = {}) {
  const button = h(
    "button",
    { type: "button", class: danger ? "danger" : quiet ? "quiet" : "primary", ...properties },
    symbol && icon(symbol),
    h("span", {}, text),
  );
  button.addEventListener("click", async () => {
    if (button.getAttribute("aria-busy") === "true") return;
    button.setAttribute("aria-busy", "true");
    try {
      await act(button);
    } finally {
      button.removeAttribute("aria-busy");
    }
  });
  return button;
}

/**
 * A button that lets people choose files; `chosen` is given them.
 * @param {string} text
 * @param {(files: File[]) => unknown} chosen
 * @param {{quiet?: boolean, symbol?: string | null, [property: string]: unknown}} options
 */
export function chooser(text, chosen, { quiet = true, symbol = null, ...properties } = {}) {
  const input = h("input", { type: "file", class: "unseen", tabIndex: -1, "aria-hidden": "true", ...properties });
  if (properties.webkitdirectory) input.webkitdirectory = true;
  input.addEventListener("change", () => {
    const files = [...input.files];
    input.value = "";
    if (files.length) chosen(files);
  });
  return h("span", { class: "chooser" }, input, action(text, () => input.click(), { quiet, symbol }));
}
