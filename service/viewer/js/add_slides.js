/** Panel to add slides: a place to drop files, a button to choose some, and a row for each that is sent. */

import { element, icon, iconButton } from "./dom.js";
import { formatBytes, formatDuration } from "./format.js";
import { add, remove, retry, uploads } from "./upload.js";

/**
 * Build the panel; files may be dropped anywhere on the page.
 * @param {(slide: any) => void} onUploaded
 */
export function addSlides(onUploaded) {
  const input = element("input", {
    type: "file",
    multiple: true,
    class: "unseen",
    tabindex: "-1",
    "aria-label": "Slide files",
    onchange: () => {
      add(input.files);
      input.value = "";
    },
  });
  const choose = element(
    "button",
    { type: "button", class: "drop", id: "choose-slides", onclick: () => input.click() },
    icon("upload"),
    element(
      "span",
      {},
      element("strong", {}, "Add slides"),
      element("small", {}, "Drop files here, or choose some"),
    ),
  );
  const rows = element("ul", { class: "uploads", "aria-label": "Uploads" });
  acceptDrops();
  const told = new Set();
  uploads.watch((list) => {
    rows.replaceChildren(...list.map(uploadRow));
    for (const upload of list) {
      if (upload.state === "done" && !told.has(upload)) {
        told.add(upload);
        onUploaded(upload.slide);
      }
    }
  });
  return element("section", { class: "add", "aria-label": "Add slides" }, choose, input, rows);
}

/** Take files that are dropped anywhere on the page. */
function acceptDrops() {
  let depth = 0;
  const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
  const mark = (change) => {
    depth = change === 0 ? 0 : depth + change;
    document.body.classList.toggle("dropping", depth > 0);
  };
  window.addEventListener("dragenter", (event) => holdsFiles(event) && mark(1));
  window.addEventListener("dragleave", (event) => holdsFiles(event) && mark(-1));
  window.addEventListener("dragover", (event) => holdsFiles(event) && event.preventDefault());
  window.addEventListener("drop", (event) => {
    if (!event.dataTransfer || !holdsFiles(event)) return;
    event.preventDefault();
    mark(0);
    add(event.dataTransfer.files);
  });
}

/** @param {import("./upload.js").Upload} upload */
function uploadRow(upload) {
  const { file, state, sent, problem } = upload;
  const busy = state === "sending" || state === "checking";
  return element(
    "li",
    { class: `upload ${state}` },
    element("span", { class: "name", title: file.name }, file.name),
    element("span", { class: "facts" }, state === "failed" ? problem : factsOf(upload)),
    busy && element("progress", { max: file.size || 1, value: sent, "aria-label": `${file.name}, sent` }),
    element(
      "span",
      { class: "actions" },
      state === "failed" &&
        element(
          "button",
          { type: "button", class: "small-button", onclick: () => retry(upload) },
          "Send again",
        ),
      iconButton("close", `${busy ? "Stop sending" : "Remove from this list:"} ${file.name}`, {
        onclick: () => remove(upload),
      }),
    ),
  );
}

/** @param {import("./upload.js").Upload} upload */
function factsOf({ file, state, sent, bytesPerSecond, away }) {
  if (away) return `${formatBytes(sent)} of ${formatBytes(file.size)} · the service is away, waiting for it`;
  if (state === "waiting") return `${formatBytes(file.size)}, waits`;
  if (state === "checking") return "Sent, being looked at";
  if (state === "done") return "Added";
  const parts = [`${formatBytes(sent)} of ${formatBytes(file.size)}`];
  if (bytesPerSecond > 0) {
    parts.push(
      `${formatBytes(bytesPerSecond)}/s`,
      `${formatDuration((file.size - sent) / bytesPerSecond)} left`,
    );
  }
  return parts.join(" · ");
}
