/** Say something at the bottom of the page, and to screen readers. */

const STAY = 6000;

/** @param {string} words */
export function say(words) {
  const place = /** @type {HTMLElement} */ (document.getElementById("messages"));
  const message = document.createElement("p");
  message.textContent = words;
  place.replaceChildren(message);
  setTimeout(() => message.remove(), STAY);
}
