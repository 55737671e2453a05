/** What the page works on: slides, jobs, models, and the slide and job that are open. */

import * as api from "./api.js";
import { follow, isOver } from "./follow.js";
import { LabelTiles } from "./label_tiles.js";
import { Signal } from "./signal.js";

const LIST_WHILE_BUSY = 2000;
const LIST_AT_REST = 15_000;
const GRID_AGAIN = 700;

/** Newest first; null until they are known. */
export const slides = new Signal(/** @type {any[] | null} */ (null));
/** Newest first; null until they are known. */
export const jobs = new Signal(/** @type {any[] | null} */ (null));
/** Answer of GET /v1/models; null until it is known. */
export const models = new Signal(/** @type {{default: string, models: any[]} | null} */ (null));
/** The slide that is open. */
export const slide = new Signal(/** @type {any} */ (null));
/** The job that is open. */
export const job = new Signal(/** @type {any} */ (null));
/** Answer of GET /v1/jobs/{id}/tiles for the open job, once its grid is known. */
export const grid = new Signal(/** @type {any} */ (null));
/** Answer of GET /v1/jobs/{id}/result for the open job, once it has succeeded. */
export const result = new Signal(/** @type {any} */ (null));
/** Patches of the open job that were stored last. */
export const growth = new Signal(/** @type {{version: string, patches: number[]} | null} */ (null));
/** Whether a slide or job is being opened. */
export const opening = new Signal(false);
/** What went wrong with opening, in words. */
export const trouble = new Signal(/** @type {string | null} */ (null));

/**
 * Opens slide and job in a view; set by the page.
 * @type {{openSlide: (slide: any, info: any) => Promise<void>, setTiles: (tiles: LabelTiles | null) => void,
 *   redraw: () => void}}
 */
export const stage = { openSlide: async () => {}, setTiles: () => {}, redraw: () => {} };

let visit = 0;
let stopFollowing = () => {};
/** @type {LabelTiles | null} */
let tiles = null;

/** The first reading of the lists. @type {Promise<void>} */
let firstLists = Promise.resolve();

/** Read the lists now, and again and again, often while jobs run. */
export async function keepLists() {
  firstLists = refreshLists();
  await firstLists;
  for (;;) {
    const busy = (jobs.value ?? []).some((one) => !isOver(one));
    await new Promise((resolve) => setTimeout(resolve, busy ? LIST_WHILE_BUSY : LIST_AT_REST));
    await refreshLists();
  }
}

/** Jobs beyond the first page, as far as they were asked for. @type {any[]} */
let older = [];
/** Where the next page begins; null on the last. */
export const nextPage = new Signal(/** @type {string | null} */ (null));

/** Read the jobs of the first page, and keep those of further pages. */
async function readJobs() {
  const page = await api.listJobs("?limit=100");
  if (!older.length) nextPage.value = page.next_cursor;
  const known = new Set(page.jobs.map(({ id }) => id));
  return [...page.jobs, ...older.filter(({ id }) => !known.has(id))];
}

/** Read a further page of jobs. */
export async function readOlderJobs() {
  const page = await api.listJobs(`?limit=100&cursor=${encodeURIComponent(nextPage.value ?? "")}`);
  older = [...older, ...page.jobs];
  nextPage.value = page.next_cursor;
  await refresh(jobs, readJobs);
}

/** Read jobs, slides and models once. */
export async function refreshLists() {
  await Promise.all([
    refresh(jobs, readJobs),
    refresh(slides, async () => (await api.listSlides()).slides),
    refresh(models, api.listModels),
  ]);
}

/**
 * Set a list if it is another than before.
 * @param {Signal<any>} list
 * @param {() => Promise<any>} read
 */
async function refresh(list, read) {
  try {
    const value = await read();
    if (JSON.stringify(value) !== JSON.stringify(list.value)) list.value = value;
  } catch (error) {
    if (!(error instanceof api.ApiError)) throw error;
  }
}

/** Show nothing. */
export function closeAll() {
  arrive(leave());
  job.value = null;
  slide.value = null;
}

/**
 * Open a slide without a job.
 * @param {string} id
 */
export async function openSlide(id) {
  const mine = leave();
  job.value = null;
  await showSlide(id, mine);
  arrive(mine);
}

/**
 * Open a job with its slide, and follow it while it runs.
 * @param {string} id
 */
export async function openJob(id) {
  const mine = leave();
  await showJob(id, mine);
  arrive(mine);
}

/**
 * @param {string} id
 * @param {number} mine
 */
async function showJob(id, mine) {
  const opened = await attempt(() => api.getJob(id), mine);
  if (!opened) return;
  job.value = opened;
  const shown = showSlide(opened.slide.id, mine);
  if (isOver(opened)) {
    await showEnd(opened, mine);
  } else {
    stopFollowing = follow(id, {
      job: (now) => mine === visit && tellJob(now, mine),
      patches: (grown) => mine === visit && grow(id, grown, mine),
    });
  }
  await shown;
}

/** Leave what is open. @returns {number} this visit's number; what belongs to an older one is dropped */
function leave() {
  stopFollowing();
  stopFollowing = () => {};
  tiles?.close();
  tiles = null;
  stage.setTiles(null);
  grid.value = null;
  growth.value = null;
  result.value = null;
  trouble.value = null;
  opening.value = true;
  return ++visit;
}

/** @param {number} mine */
async function arrive(mine) {
  // The models' cards belong to what is shown of a job.
  await firstLists;
  if (mine === visit) opening.value = false;
}

/**
 * @param {string} id
 * @param {number} mine
 */
async function showSlide(id, mine) {
  if (slide.value?.id === id && slide.value.open) return true;
  const found = await attempt(() => Promise.all([api.getSlide(id), api.getSlideTiles(id)]), mine);
  if (!found) {
    if (mine === visit) slide.value = null;
    return false;
  }
  const [facts, info] = found;
  slide.value = { ...facts, open: false };
  await attempt(() => stage.openSlide(facts, info), mine);
  if (mine !== visit) return false;
  slide.value = { ...facts, open: true };
  return true;
}

/**
 * @param {any} now
 * @param {number} mine
 */
function tellJob(now, mine) {
  job.value = now;
  if (jobs.value) jobs.value = jobs.value.map((one) => (one.id === now.id ? now : one));
  if (isOver(now)) showEnd(now, mine);
}

/**
 * Show what a job that is over has left.
 * @param {any} over
 * @param {number} mine
 */
async function showEnd(over, mine) {
  if (over.state !== "succeeded") {
    if (!tiles && over.progress.patches_done) await showTiles(over.id, mine, true);
    return;
  }
  const [found] = await Promise.all([
    attempt(() => api.getResult(over.id), mine),
    showTiles(over.id, mine, false),
  ]);
  if (found) result.value = found;
}

/**
 * Take note of patches that were stored, and get the grid with the first of them.
 * @param {string} id
 * @param {{version: string, patches: number[]}} grown
 * @param {number} mine
 */
async function grow(id, grown, mine) {
  if (!tiles) await showTiles(id, mine, true);
  if (mine !== visit) return;
  tiles?.grow(grown);
  growth.value = grown;
}

/**
 * Get the grid of a job and show its labels; if they are shown already, as those of the finished job.
 * @param {string} id
 * @param {number} mine
 * @param {boolean} quietly leave it at that if there is no grid
 */
async function showTiles(id, mine, quietly) {
  let info = null;
  try {
    info = await api.getLabelTiles(id);
  } catch (error) {
    if (mine !== visit) return;
    if (!quietly) trouble.value = error.message;
    else if (error.status === 409)
      setTimeout(() => mine === visit && !tiles && showTiles(id, mine, true), GRID_AGAIN);
    return;
  }
  if (mine !== visit) return;
  if (tiles && info.finished) tiles.finish(info);
  if (!tiles) {
    tiles = new LabelTiles(id, info, () => stage.redraw());
    stage.setTiles(tiles);
  }
  grid.value = info;
}

/**
 * Do something; if it fails while this visit lasts, say why.
 * @template T
 * @param {() => Promise<T>} action
 * @param {number} mine
 * @returns {Promise<T | null>}
 */
async function attempt(action, mine) {
  try {
    const value = await action();
    return mine === visit ? value : null;
  } catch (error) {
    if (!(error instanceof api.ApiError)) throw error;
    if (mine === visit) trouble.value = error.message;
    return null;
  }
}
