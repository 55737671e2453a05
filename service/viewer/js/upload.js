/** Send slides, one after the other, with progress; a broken one can be sent again. */

import { ApiError, PREFIX, wordsOf } from "./api.js";
import { Signal } from "./signal.js";

/**
 * @typedef {object} Upload
 * @property {File} file
 * @property {"waiting" | "sending" | "checking" | "done" | "failed"} state `checking`: the service looks at it
 * @property {number} sent bytes
 * @property {number} bytesPerSecond over the last seconds; 0 while unknown
 * @property {string} problem in words, once failed
 * @property {any} slide once done
 */

/** Uploads of this page, oldest first. */
export const uploads = new Signal(/** @type {Upload[]} */ ([]));

/** @type {XMLHttpRequest | null} */
let sending = null;

/**
 * Queue files.
 * @param {Iterable<File>} files
 */
export function add(files) {
  const fresh = [...files].map((file) => ({
    file,
    state: /** @type {const} */ ("waiting"),
    sent: 0,
    bytesPerSecond: 0,
    problem: "",
    slide: null,
  }));
  uploads.value = [...uploads.value, ...fresh];
  work();
}

/**
 * Send a failed one again.
 * @param {Upload} upload
 */
export function retry(upload) {
  update(upload, { state: "waiting", sent: 0, problem: "" });
  work();
}

/**
 * Remove one from the list; stops it if it is being sent.
 * @param {Upload} upload
 */
export function remove(upload) {
  if (upload.state === "sending" || upload.state === "checking") sending?.abort();
  uploads.value = uploads.value.filter((one) => one !== upload);
}

/** Send what waits, unless something is being sent. */
async function work() {
  if (sending) return;
  const next = uploads.value.find((one) => one.state === "waiting");
  if (!next) return;
  try {
    const slide = await send(next);
    update(next, { state: "done", slide });
  } catch (error) {
    update(next, { state: "failed", problem: error.message });
  }
  sending = null;
  work();
}

/**
 * Send one file as the raw body.
 * @param {Upload} upload
 * @returns {Promise<any>} the slide as the service describes it
 */
function send(upload) {
  const request = new XMLHttpRequest();
  sending = request;
  const speed = speedometer();
  update(upload, { state: "sending", sent: 0 });
  return new Promise((resolve, reject) => {
    request.upload.addEventListener("progress", ({ loaded }) => {
      update(upload, { sent: loaded, bytesPerSecond: speed(loaded) });
    });
    request.upload.addEventListener("load", () =>
      update(upload, { state: "checking", sent: upload.file.size }),
    );
    request.addEventListener("load", () => {
      if (request.status === 201) resolve(JSON.parse(request.responseText));
      else reject(new ApiError(request.status, wordsOf(request.responseText, request.status)));
    });
    request.addEventListener("error", () => reject(new ApiError(0, "The connection broke. Send it again.")));
    request.addEventListener("abort", () => reject(new ApiError(0, "Stopped.")));
    request.open("PUT", `${PREFIX}/slides?filename=${encodeURIComponent(upload.file.name)}`);
    request.send(upload.file);
  });
}

/** @returns {(bytes: number) => number} bytes a second over the last three seconds */
function speedometer() {
  /** @type {{time: number, bytes: number}[]} */
  const seen = [{ time: performance.now(), bytes: 0 }];
  return (bytes) => {
    const time = performance.now();
    seen.push({ time, bytes });
    while (seen.length > 2 && time - seen[0].time > 3000) seen.shift();
    const seconds = (time - seen[0].time) / 1000;
    return seconds > 0 ? (bytes - seen[0].bytes) / seconds : 0;
  };
}

/**
 * @param {Upload} upload
 * @param {Partial<Upload>} changes
 */
function update(upload, changes) {
  Object.assign(upload, changes);
  uploads.value = [...uploads.value];
}
