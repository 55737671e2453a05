/** Fetch and keep the label tiles of one job, also while it runs and its label map grows. */

import { PREFIX } from "./api.js";

/** Tiles kept; 256 kB each. */
const KEPT = 256;
/** Requests at the same time. A browser opens six connections to a host, and slide and events need theirs. */
const PARALLEL = 3;
/** Milliseconds until a tile that could not be had is asked for again. */
const PATIENCE = 3000;

/**
 * @typedef {{labels: Uint8Array | null, stale: boolean, change: number}} LabelTile labels is null where all is 0;
 *   `stale` while a newer one is wanted; `change` is another number for other labels
 */

export class LabelTiles {
  /** @type {Map<string, LabelTile>} by "level/column_row", the least recently used first */
  #tiles = new Map();
  /** @type {Map<string, {stale: boolean}>} */
  #flights = new Map();
  /** @type {string[]} */
  #wanted = [];
  /** @type {Set<number> | null} finished patches of a job that runs */
  #patches;
  /** @type {Set<string>} not asked for at present, since that failed */
  #failed = new Set();
  #changes = 0;
  #closed = new AbortController();

  /**
   * @param {string} jobId
   * @param {any} info answer of GET /v1/jobs/{id}/tiles
   * @param {() => void} onChange called when a tile has come
   * @param {string} [map] "probabilities/" for those of the labels instead of the labels
   */
  constructor(jobId, info, onChange, map = "") {
    this.jobId = jobId;
    this.map = map;
    this.info = info;
    this.side = info.tile_px;
    this.levels = info.levels;
    this.onChange = onChange;
    this.#patches = info.patches ? new Set(info.patches) : null;
  }

  /** Stop all requests. */
  close() {
    this.#closed.abort();
    this.#wanted = [];
  }

  /**
   * Size of a level in its own pixels.
   * @param {number} level 0 is the finest
   */
  size(level) {
    const scale = 2 ** level;
    return { width: Math.ceil(this.info.width / scale), height: Math.ceil(this.info.height / scale) };
  }

  /**
   * Return a tile that is at hand, maybe a stale one.
   * @param {number} level
   * @param {number} column
   * @param {number} row
   * @returns {LabelTile | undefined}
   */
  get(level, column, row) {
    const key = keyOf(level, column, row);
    const tile = this.#tiles.get(key);
    if (tile) {
      this.#tiles.delete(key);
      this.#tiles.set(key, tile);
    } else if (this.#isBlank(level, column, row)) {
      return { labels: null, stale: false, change: -1 };
    }
    return tile;
  }

  /**
   * Label value at a place, from the finest tile at hand; null where none is.
   * @param {{x: number, y: number}} place level-0 px
   */
  valueAt({ x, y }) {
    const { width, height, downsample } = this.info;
    const [labelX, labelY] = [Math.floor(x / downsample), Math.floor(y / downsample)];
    if (labelX < 0 || labelY < 0 || labelX >= width || labelY >= height) return null;
    for (let level = 0; level < this.levels; level++) {
      const [atX, atY] = [labelX >> level, labelY >> level];
      const tile = this.get(level, Math.floor(atX / this.side), Math.floor(atY / this.side));
      if (tile) return tile.labels ? tile.labels[(atY % this.side) * this.side + (atX % this.side)] : 0;
    }
    return null;
  }

  /**
   * Fetch these tiles, in this order, where they are absent or stale; forget what was wanted before.
   * @param {number[][]} places [level, column, row]
   */
  want(places) {
    this.#wanted = places
      .filter(([level, column, row]) => this.get(level, column, row)?.stale !== false)
      .map(([level, column, row]) => keyOf(level, column, row))
      .filter((key) => !this.#failed.has(key) && !this.#flights.has(key));
    this.#next();
  }

  /**
   * Take note of patches that were stored since.
   * @param {{version: string, patches: number[]}} grown
   */
  grow({ version, patches }) {
    this.info = { ...this.info, version };
    const fresh = patches.filter((index) => this.#patches && !this.#patches.has(index));
    for (const index of fresh) this.#patches?.add(index);
    const boxes = fresh.map((index) => this.#patchBox(index));
    this.#outdate((key) => boxes.some((box) => this.#covers(key, box)));
  }

  /**
   * Take over the tiles of the finished job.
   * @param {any} info answer of GET /v1/jobs/{id}/tiles
   */
  finish(info) {
    this.info = info;
    this.#patches = null;
    this.#outdate(() => true);
  }

  /** Whether every tile wanted is at hand. */
  get complete() {
    return this.#wanted.length === 0 && this.#flights.size === 0;
  }

  /** @param {(key: string) => boolean} concerns */
  #outdate(concerns) {
    for (const [key, tile] of this.#tiles) if (concerns(key)) tile.stale = true;
    for (const [key, flight] of this.#flights) if (concerns(key)) flight.stale = true;
    this.onChange();
  }

  #next() {
    while (this.#flights.size < PARALLEL && this.#wanted.length) {
      this.#fetch(/** @type {string} */ (this.#wanted.shift()));
    }
  }

  /** @param {string} key */
  async #fetch(key) {
    const flight = { stale: false };
    this.#flights.set(key, flight);
    try {
      const address = `${PREFIX}/jobs/${this.jobId}/tiles/${this.map}${key}?v=${encodeURIComponent(this.info.version)}`;
      const response = await fetch(address, { signal: this.#closed.signal });
      if (!response.ok) throw new Error(String(response.status));
      const labels = response.status === 204 ? null : new Uint8Array(await response.arrayBuffer());
      this.#keep(key, labels, flight.stale);
    } catch {
      this.#failed.add(key);
      setTimeout(() => this.#failed.delete(key) && !this.#closed.signal.aborted && this.onChange(), PATIENCE);
    }
    this.#flights.delete(key);
    if (this.#closed.signal.aborted) return;
    this.onChange();
    this.#next();
  }

  /**
   * @param {string} key
   * @param {Uint8Array | null} labels
   * @param {boolean} stale
   */
  #keep(key, labels, stale) {
    this.#tiles.delete(key);
    this.#tiles.set(key, { labels, stale, change: ++this.#changes });
    for (const oldest of this.#tiles.keys()) {
      if (this.#tiles.size <= KEPT) break;
      this.#tiles.delete(oldest);
    }
  }

  /**
   * Whether a tile lies on no finished patch, so that all of it is 0.
   * @param {number} level
   * @param {number} column
   * @param {number} row
   */
  #isBlank(level, column, row) {
    const { patch_px: patch, patch_columns: columns, patch_rows: rows } = this.info;
    const patches = this.#patches;
    if (!patches) return false;
    const span = (this.side * 2 ** level) / patch;
    const last = (place, count) => Math.min(count - 1, Math.ceil((place + 1) * span) - 1);
    for (let y = Math.floor(row * span); y <= last(row, rows); y++) {
      for (let x = Math.floor(column * span); x <= last(column, columns); x++) {
        if (patches.has(y * columns + x)) return false;
      }
    }
    return true;
  }

  /** @param {number} index */
  #patchBox(index) {
    const { patch_px: side, patch_columns: columns } = this.info;
    const x = (index % columns) * side;
    const y = Math.floor(index / columns) * side;
    return { x, y, right: x + side, bottom: y + side };
  }

  /**
   * @param {string} key
   * @param {{x: number, y: number, right: number, bottom: number}} box label px
   */
  #covers(key, box) {
    const [level, column, row] = key.split(/[/_]/).map(Number);
    const side = this.side * 2 ** level;
    return (
      column * side < box.right &&
      (column + 1) * side > box.x &&
      row * side < box.bottom &&
      (row + 1) * side > box.y
    );
  }
}

/**
 * @param {number} level
 * @param {number} column
 * @param {number} row
 */
const keyOf = (level, column, row) => `${level}/${column}_${row}`;
