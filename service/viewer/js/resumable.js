/** Send a file so that a broken connection or a restart of the service loses nothing (tus 1.0). */

import { ApiError, PREFIX, wordsOf } from "./api.js";

/** Bytes of one request: what is lost at most where a proxy gathers a body before it passes it on. */
const PART = 64 * 2 ** 20;

/** Answers after which it is worth to ask for the offset and go on; 0 is none at all. */
const RETRIED = [0, 408, 409, 423, 429, 502, 503, 504];

/** Milliseconds that a service which was there may be away, and between tries. */
const PATIENCE = 120_000;
const PAUSES = { first: 500, longest: 8000 };

const TUS = { "Tus-Resumable": "1.0.0" };

/**
 * Send a file, in this tab also from where it was before the page was loaded anew.
 * @param {File} file
 * @param {AbortSignal} signal stops it, and the service forgets what it has
 * @param {(sent: number) => void} onSent told bytes sent
 * @param {(away: boolean) => void} onAway told that the service does not answer, and that it does again
 * @returns {Promise<string>} address of the slide it has become
 * @throws {ApiError} when the service refuses, or stays away
 */
export async function sendResumable(file, signal, onSent, onAway) {
  const memory = `upload ${file.name} ${file.size} ${file.lastModified}`;
  const state = { place: sessionStorage.getItem(memory), offset: -1 };
  let [pause, awaySince] = [PAUSES.first, 0];
  for (;;) {
    try {
      if (state.place && state.offset < 0) await findOffset(state);
      if (!state.place) sessionStorage.setItem(memory, await begin(state, file));
      onAway(false);
      const slide = await sendPart(state, file, signal, onSent);
      if (slide) {
        sessionStorage.removeItem(memory);
        return slide;
      }
      [pause, awaySince] = [PAUSES.first, 0];
    } catch (error) {
      awaySince ||= Date.now();
      const goesOn = RETRIED.includes(error.status) && Date.now() - awaySince < PATIENCE;
      if (signal.aborted && state.place)
        fetch(state.place, { method: "DELETE", headers: TUS }).catch(() => {});
      if (signal.aborted || !RETRIED.includes(error.status)) sessionStorage.removeItem(memory);
      if (signal.aborted || !goesOn) throw error;
      onAway(true);
      await new Promise((resolve) => setTimeout(resolve, pause));
      pause = Math.min(2 * pause, PAUSES.longest);
    }
  }
}

/** @typedef {{place: string | null, offset: number}} State where an upload lies; -1 bytes: to be asked for */

/** @param {State} state without a place, once the service has lost the upload */
async function findOffset(state) {
  const answer = await ask(String(state.place), { method: "HEAD", headers: TUS }, [404]);
  if (answer.ok) state.offset = Number(answer.headers.get("Upload-Offset"));
  else state.place = null;
}

/**
 * @param {State} state
 * @param {File} file
 */
async function begin(state, file) {
  const name = btoa(String.fromCharCode(...new TextEncoder().encode(file.name)));
  const headers = { ...TUS, "Upload-Length": String(file.size), "Upload-Metadata": `filename ${name}` };
  const answer = await ask(`${PREFIX}/uploads`, { method: "POST", headers });
  state.offset = 0;
  return (state.place = String(answer.headers.get("Location")));
}

/**
 * @param {string} url
 * @param {RequestInit} options
 * @param {number[]} [borne] statuses that are no errors
 */
async function ask(url, options, borne = []) {
  const answer = await fetch(url, options).catch(() => {
    throw new ApiError(0, "The service does not answer. Is it running?");
  });
  if (answer.ok || borne.includes(answer.status)) return answer;
  throw new ApiError(answer.status, wordsOf(await answer.text(), answer.status));
}

/**
 * Send what follows the offset. By XMLHttpRequest, for fetch tells nothing of what is on its way.
 * @param {State} state
 * @param {File} file
 * @param {AbortSignal} signal
 * @param {(sent: number) => void} onSent
 * @returns {Promise<string | null>} address of the slide, if that was the end
 */
function sendPart(state, file, signal, onSent) {
  const { place, offset } = state;
  const request = new XMLHttpRequest();
  const abort = () => request.abort();
  state.offset = -1;
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(new ApiError(0, "Stopped."));
    signal.addEventListener("abort", abort);
    request.upload.addEventListener("progress", ({ loaded }) => onSent(offset + loaded));
    request.addEventListener("load", () => {
      if (request.status !== 204)
        return reject(new ApiError(request.status, wordsOf(request.responseText, request.status)));
      state.offset = Number(request.getResponseHeader("Upload-Offset"));
      resolve(request.getResponseHeader("Location"));
    });
    request.addEventListener("error", () => reject(new ApiError(0, "The connection broke. Send it again.")));
    request.addEventListener("abort", () => reject(new ApiError(0, "Stopped.")));
    request.addEventListener("loadend", () => signal.removeEventListener("abort", abort));
    request.open("PATCH", String(place));
    const headers = { ...TUS, "Upload-Offset": offset, "Content-Type": "application/offset+octet-stream" };
    Object.entries(headers).forEach(([name, value]) => request.setRequestHeader(name, String(value)));
    request.send(file.slice(offset, offset + PART));
  });
}
