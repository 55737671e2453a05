/** Ask for a key where the service wants one, and log out again. */

import { ApiError, call, onKeyNeeded } from "./api.js";
import { element } from "./dom.js";

const LOCAL = "local";

/**
 * Resolve once calls may be made: at once, or after somebody has logged in, which loads the page anew.
 * @param {HTMLElement} place in the head of the page, for a button to log out
 */
export async function admitted(place) {
  const dialog = loginDialog();
  onKeyNeeded(() => dialog.open || dialog.showModal());
  const who = await call("/session").catch((error) => {
    if (!(error instanceof ApiError)) throw error;
    return error.status === 401 ? null : { name: LOCAL };
  });
  if (!who) return new Promise(() => {});
  if (who.name !== LOCAL) {
    place.append(
      element(
        "button",
        {
          type: "button",
          class: "small-button",
          title: `Logged in with the key ${who.name}`,
          onclick: logOut,
        },
        "Log out",
      ),
    );
  }
}

function loginDialog() {
  const key = element("input", {
    type: "password",
    id: "key",
    autocomplete: "current-password",
    required: true,
  });
  const problem = element("p", { class: "problem", role: "alert" });
  const form = element(
    "form",
    { class: "run", onsubmit: (event) => (event.preventDefault(), logIn(key, problem)) },
    element("p", { class: "hint" }, "Whoever runs the service makes one: darefine keys add NAME"),
    element("div", { class: "field" }, element("label", { for: "key" }, "Key"), key),
    element("button", { type: "submit", class: "primary" }, "Log in"),
    problem,
  );
  const dialog = element(
    "dialog",
    { class: "login", "aria-labelledby": "login-title" },
    element("h2", { id: "login-title" }, "This service asks for a key"),
    form,
  );
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  document.body.append(dialog);
  return dialog;
}

/**
 * @param {HTMLInputElement} key
 * @param {HTMLElement} problem
 */
async function logIn(key, problem) {
  problem.textContent = "";
  try {
    await call("/session", { method: "POST", json: { key: key.value } });
    location.reload();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    problem.textContent = error.message;
  }
}

async function logOut() {
  await call("/session", { method: "DELETE" });
  location.reload();
}
