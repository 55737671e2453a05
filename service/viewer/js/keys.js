/** Keys of the page, and the help that lists them. */

import { element, iconButton } from "./dom.js";

/**
 * @typedef {object} Key
 * @property {string[]} keys as in KeyboardEvent.key; "1..9" stands for the digits by their place on the keyboard
 * @property {string} words for the help
 * @property {string} group
 * @property {(event: KeyboardEvent) => void} run
 * @property {string} [shown] how the keys are written in the help
 */

/** @type {Key[]} */
const known = [];

/** @param {Key[]} keys */
export function addKeys(keys) {
  known.push(...keys);
}

/** Listen to the keys, except where something is being written or chosen. */
export function listenToKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (document.querySelector("dialog[open]")) return;
    const target = /** @type {HTMLElement} */ (event.target);
    const digit = /^Digit[1-9]$/.test(event.code) ? "1..9" : null;
    if (isTakenBy(target, event.key)) return;
    const found = known.find(({ keys }) => keys.includes(event.key) || (digit && keys.includes(digit)));
    if (!found) return;
    event.preventDefault();
    found.run(event);
  });
}

/**
 * Whether an element needs a key for itself.
 * @param {HTMLElement} target
 * @param {string} key
 */
function isTakenBy(target, key) {
  if (
    target.matches("select, textarea, input:not([type=checkbox], [type=range], [type=color], [type=radio])")
  )
    return true;
  if (target.matches("input[type=range], input[type=radio], [role=slider]")) return key.startsWith("Arrow");
  return key === "Enter" && target.matches("button, a, summary, input");
}

/** Build the help dialog. @returns {{dialog: HTMLDialogElement, open: () => void}} */
export function helpDialog() {
  const list = element("div", { class: "key-groups" });
  const dialog = element(
    "dialog",
    { class: "help", "aria-labelledby": "help-title" },
    element(
      "div",
      { class: "line" },
      element("h2", { id: "help-title" }, "Keys"),
      iconButton("close", "Close", { onclick: () => dialog.close() }),
    ),
    list,
    element(
      "p",
      { class: "hint" },
      "Drag to move, scroll to zoom, double click to zoom in. The page's address holds what you look at: copy it to share it.",
    ),
  );
  const open = () => {
    const groups = Map.groupBy(known, ({ group }) => group);
    list.replaceChildren(
      ...[...groups].map(([title, keys]) =>
        element("section", {}, element("h3", {}, title), element("dl", {}, keys.map(keyLine))),
      ),
    );
    dialog.showModal();
  };
  document.body.append(dialog);
  return { dialog, open };
}

/** @param {Key} key */
function keyLine({ keys, shown, words }) {
  return element(
    "div",
    {},
    element(
      "dt",
      {},
      (shown ? shown.split(" ") : keys).map((name) => element("kbd", {}, name)),
    ),
    element("dd", {}, words),
  );
}
