/** Build and replace elements. */

/**
 * Create an element.
 * @param {string} tag
 * @param {Record<string, any>} [properties] attributes; functions under `on...` are listeners; `style` is an
 *   object of CSS properties; true is an attribute without value, false, null and undefined are left out
 * @param {...any} children nodes or text; null, undefined and false are left out
 * @returns {any} the element
 */
export function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === "function") {
      node.addEventListener(name.slice(2), value);
    } else if (name === "style") {
      Object.entries(value).forEach(([key, text]) => node.style.setProperty(key, String(text)));
    } else if (value !== null && value !== undefined && value !== false) {
      node.setAttribute(name, value === true ? "" : String(value));
    }
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/**
 * Return an icon of icons.svg, hidden from screen readers.
 * @param {string} name
 */
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const picture = document.createElementNS(space, "svg");
  picture.setAttribute("class", "icon");
  picture.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(space, "use");
  use.setAttribute("href", `${new URL("../icons.svg", import.meta.url).pathname}#${name}`);
  picture.append(use);
  return picture;
}

/**
 * Return a button that shows an icon only; its label is read out and shown on hover.
 * @param {string} name of the icon
 * @param {string} label
 * @param {Record<string, any>} [properties]
 */
export function iconButton(name, label, properties = {}) {
  return element(
    "button",
    { type: "button", class: "icon-button", "aria-label": label, title: label, ...properties },
    icon(name),
  );
}
