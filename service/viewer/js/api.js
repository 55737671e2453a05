/** Call the HTTP API; errors carry the words of its problem documents. */

export const PREFIX = "/v1";

/** An answer that is a problem, or no answer at all (status 0). */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {string} detail
   */
  constructor(status, detail) {
    super(detail);
    this.name = "ApiError";
    this.status = status;
  }
}

let askForKey = () => {};

/** @param {() => void} ask called when a call is refused for want of a key */
export function onKeyNeeded(ask) {
  askForKey = ask;
}

/**
 * Send a request and return the JSON of a good answer; null where it has no body.
 * @param {string} path below /v1, with a leading slash
 * @param {RequestInit & {json?: unknown}} [options] `json` is sent as the body
 * @returns {Promise<any>}
 * @throws {ApiError}
 */
export async function call(path, { json, ...options } = {}) {
  const body =
    json === undefined ? {} : { body: JSON.stringify(json), headers: { "Content-Type": "application/json" } };
  let response;
  try {
    response = await fetch(PREFIX + path, { ...options, ...body });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "The service does not answer. Is it running?");
  }
  if (response.status === 401) askForKey();
  if (!response.ok) throw new ApiError(response.status, wordsOf(await response.text(), response.status));
  return response.status === 204 ? null : response.json();
}

/**
 * Return the words of a problem document, or the best there is without one.
 * @param {string} text the body
 * @param {number} status
 */
export function wordsOf(text, status) {
  try {
    return JSON.parse(text).detail || `The service answered ${status}.`;
  } catch {
    return `The service answered ${status}.`;
  }
}

export const listJobs = (query = "") => call(`/jobs${query}`);
export const getJob = (id) => call(`/jobs/${id}`);
export const getResult = (id) => call(`/jobs/${id}/result`);
export const getLabelTiles = (id) => call(`/jobs/${id}/tiles`);
export const cancelJob = (id) => call(`/jobs/${id}/cancel`, { method: "POST" });
export const deleteJob = (id) => call(`/jobs/${id}`, { method: "DELETE" });
export const createJob = (options) => call("/jobs", { method: "POST", json: options });
export const listSlides = () => call("/slides");
export const getSlide = (id) => call(`/slides/${id}`);
export const deleteSlide = (id) => call(`/slides/${id}`, { method: "DELETE" });
export const getSlideTiles = (id) => call(`/slides/${id}/tiles`);
export const listModels = () => call("/models");

/**
 * Address of a slide's small picture.
 * @param {string} id
 * @param {number} side longest side, px
 */
export const thumbnailUrl = (id, side) => `${PREFIX}/slides/${id}/thumbnail?side=${side}`;
