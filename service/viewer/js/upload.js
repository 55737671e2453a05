/** Send slides, one after the other, with progress; a broken one can be sent again. */

import { ApiError, call, PREFIX, wordsOf } from "./api.js";
import { sendResumable } from "./resumable.js";
import { Signal } from "./signal.js";

/**
 * @typedef {object} Upload
 * @property {File} file
 * @property {"waiting" | "sending" | "checking" | "done" | "failed"} state `checking`: the service looks at it
 * @property {number} sent bytes
 * @property {number} bytesPerSecond over the last seconds; 0 while unknown
 * @property {boolean} away whether the service does not answer and is waited for
 * @property {string} problem in words, once failed
 * @property {any} slide once done
 */

/** Uploads of this page, oldest first. */
export const uploads = new Signal(/** @type {Upload[]} */ ([]));

/** Size in bytes from which files are sent so that they can be gone on with; smaller ones go in one request. */
const RESUMABLE = 32 * 2 ** 20;

/** @type {AbortController | null} */
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
    away: false,
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
  const { signal } = (sending = new AbortController());
  update(next, { state: "sending", sent: 0 });
  try {
    const slide = await (next.file.size < RESUMABLE ? send(next, signal) : sendLarge(next, signal));
    update(next, { state: "done", slide });
  } catch (error) {
    update(next, { state: "failed", away: false, problem: error.message });
  }
  sending = null;
  work();
}

/**
 * Send a large file.
 * @param {Upload} upload
 * @param {AbortSignal} signal
 * @returns {Promise<any>} the slide as the service describes it
 */
async function sendLarge(upload, signal) {
  const speed = speedometer();
  const onSent = (sent) =>
    update(
      upload,
      sent < upload.file.size
        ? { state: "sending", sent, bytesPerSecond: speed(sent), away: false }
        : { state: "checking", sent },
    );
  const onAway = (away) => away !== upload.away && update(upload, { away, state: "sending" });
  const slide = await sendResumable(upload.file, signal, onSent, onAway);
  return call(slide.slice(PREFIX.length));
}

/**
 * Send one file as the raw body.
 * @param {Upload} upload
 * @param {AbortSignal} signal
 * @returns {Promise<any>} the slide as the service describes it
 */
function send(upload, signal) {
  const request = new XMLHttpRequest();
  const speed = speedometer();
  signal.addEventListener("abort", () => request.abort());
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

/** @returns {(bytes: number) => number} bytes a second over the last three seconds; 0 after a step back */
function speedometer() {
  /** @type {{time: number, bytes: number}[]} */
  const seen = [];
  return (bytes) => {
    const time = performance.now();
    if (seen.length && bytes < seen[seen.length - 1].bytes) seen.length = 0;
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
