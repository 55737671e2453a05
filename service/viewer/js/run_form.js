/** Form that runs a model on the open slide, or on all slides that are chosen. */

import { ApiError, createJob } from "./api.js";
import { element } from "./dom.js";
import { models, openJob, refreshLists, slide, slides } from "./session.js";
import { Signal } from "./signal.js";

/** Ids of the slides chosen for a run. */
export const checked = new Signal(/** @type {Set<string>} */ (new Set()));

/** @param {string} id */
export function toggleChecked(id) {
  const next = new Set(checked.value);
  if (!next.delete(id)) next.add(id);
  checked.value = next;
}

/** Build the form; it keeps what was entered while slides come and go. */
export function runForm() {
  const model = element("select", { id: "run-model", name: "model" });
  const about = element("p", { class: "hint", id: "run-model-about" });
  const mpp = element("input", {
    id: "run-mpp",
    name: "mpp",
    type: "number",
    min: "0.05",
    max: "5",
    step: "any",
    inputmode: "decimal",
  });
  const mppField = element(
    "div",
    { class: "field" },
    element("label", { for: "run-mpp" }, "Pixel size, µm"),
    mpp,
    element("p", { class: "hint" }, "The file does not say it. A 40× scan has about 0.25, a 20× scan 0.5."),
  );
  const keep = element("input", { type: "checkbox", id: "run-probabilities" });
  const submit = element("button", { type: "submit", class: "primary" }, "Run");
  const problem = element("p", { class: "problem", role: "alert" });
  const form = element(
    "form",
    { class: "run", onsubmit: (event) => (event.preventDefault(), run(wish(), mpp, submit, problem)) },
    element("div", { class: "field" }, element("label", { for: "run-model" }, "Model"), model, about),
    mppField,
    element("label", { class: "check" }, keep, "Keep probabilities, for a heat map"),
    submit,
    problem,
  );
  const wish = () => ({ model: model.value, ...(keep.checked ? { outputs: ["probabilities"] } : {}) });
  const describe = () =>
    (about.textContent = models.value?.models.find(({ name }) => name === model.value)?.title ?? "");
  model.addEventListener("change", describe);
  models.watch((known) => {
    const before = model.value || known?.default;
    model.replaceChildren(
      ...(known?.models ?? []).map(({ name }) =>
        element("option", { value: name, selected: name === before }, name),
      ),
    );
    submit.disabled = !known;
    problem.textContent = known ? "" : "No worker has announced its models yet.";
    describe();
  });
  const redraw = () => {
    const targets = targetSlides();
    const needed = targets.some((one) => !one.mpp);
    mppField.hidden = !needed;
    mpp.required = needed;
    submit.textContent = targets.length > 1 ? `Run on ${targets.length} slides` : "Run";
  };
  [checked, slide, slides].forEach((signal) => signal.watch(redraw));
  return form;
}

/** @returns {any[]} the slides chosen, else the open one */
function targetSlides() {
  const chosen = (slides.value ?? []).filter(({ id }) => checked.value.has(id));
  return chosen.length || !slide.value ? chosen : [slide.value];
}

/**
 * Submit a job on each slide, then open the first.
 * @param {{model: string, outputs?: string[]}} wish
 * @param {HTMLInputElement} mpp
 * @param {HTMLButtonElement} submit
 * @param {HTMLElement} problem
 */
async function run(wish, mpp, submit, problem) {
  const targets = targetSlides();
  submit.disabled = true;
  problem.textContent = "";
  const created = [];
  const refused = [];
  for (const { id, name, mpp: own } of targets) {
    try {
      created.push(await createJob({ slide_id: id, ...wish, ...(own ? {} : { mpp: Number(mpp.value) }) }));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      refused.push(targets.length > 1 ? `${name}: ${error.message}` : error.message);
    }
  }
  submit.disabled = false;
  problem.textContent = refused.join(" ");
  if (!created.length) return;
  checked.value = new Set();
  await refreshLists();
  if (!refused.length) openJob(created[0].id);
}
