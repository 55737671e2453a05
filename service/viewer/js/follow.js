/** Follow a job by server-sent events, or by asking again and again where those do not come through. */

import { PREFIX, getJob } from "./api.js";

const POLL = 1000;

/**
 * Follow a job until it is over.
 * @param {string} id
 * @param {{job: (job: any) => void, patches: (grown: {version: string, patches: number[]}) => void}} watcher
 * @returns {() => void} stops it
 */
export function follow(id, watcher) {
  const source = new EventSource(`${PREFIX}/jobs/${id}/events`);
  let stopped = false;
  const stop = () => {
    stopped = true;
    source.close();
  };
  const told = (job) => {
    if (stopped) return;
    if (isOver(job)) stop();
    watcher.job(job);
  };
  source.addEventListener("job", (event) => told(JSON.parse(event.data)));
  source.addEventListener("patches", (event) => !stopped && watcher.patches(JSON.parse(event.data)));
  source.addEventListener("error", () => {
    // CONNECTING: the browser tries again by itself, and the stream goes on where it broke off.
    if (source.readyState === EventSource.CLOSED) poll(id, told, () => stopped);
  });
  return stop;
}

/**
 * @param {string} id
 * @param {(job: any) => void} told
 * @param {() => boolean} stopped
 */
async function poll(id, told, stopped) {
  while (!stopped()) {
    try {
      told(await getJob(id));
    } catch (error) {
      if (error.status === 404) return;
    }
    await new Promise((resolve) => setTimeout(resolve, POLL));
  }
}

/** @param {any} job */
export const isOver = (job) => !["queued", "running"].includes(job.state);
