/** Label tiles that say where two results on one slide differ. */

import { LabelTiles } from "./label_tiles.js";

/** Label value where both results have a class and not the same one. */
export const DIFFERS = 1;

/** Has what a label layer asks of LabelTiles. */
export class DifferenceTiles {
  /** @type {Map<string, {key: string, tile: import("./label_tiles.js").LabelTile}>} */
  #kept = new Map();
  #changes = 0;

  /**
   * @param {LabelTiles} first stays open when this is closed
   * @param {LabelTiles} second likewise; of the same size and scale
   * @param {Uint8Array} mapping the first's value by the second's, 255 where it has none
   */
  constructor(first, second, mapping) {
    this.first = first;
    this.second = second;
    this.mapping = mapping;
    this.side = first.side;
    this.levels = first.levels;
  }

  get info() {
    return this.first.info;
  }

  get complete() {
    return this.first.complete && this.second.complete;
  }

  /** @param {number} level */
  size(level) {
    return this.first.size(level);
  }

  /** Forget the tiles. */
  close() {
    this.#kept.clear();
  }

  /** @param {number[][]} places */
  want(places) {
    this.first.want(places);
    this.second.want(places);
  }

  /**
   * @param {number} level
   * @param {number} column
   * @param {number} row
   * @returns {import("./label_tiles.js").LabelTile | undefined}
   */
  get(level, column, row) {
    const [one, other] = [this.first, this.second].map((tiles) => tiles.get(level, column, row));
    if (!one || !other) return undefined;
    const stale = one.stale || other.stale;
    if (!one.labels || !other.labels) return { labels: null, stale, change: -1 };
    const place = `${level}/${column}_${row}`;
    const key = `${one.change} ${other.change}`;
    const known = this.#kept.get(place);
    if (known?.key === key) return { ...known.tile, stale };
    const tile = {
      labels: differences(one.labels, other.labels, this.mapping),
      stale,
      change: ++this.#changes,
    };
    this.#kept.set(place, { key, tile });
    if (this.#kept.size > 96) this.#kept.delete(/** @type {string} */ (this.#kept.keys().next().value));
    return tile;
  }
}

/**
 * Whether two results have label px of the same size and number.
 * @param {any} one answer of GET /v1/jobs/{id}/tiles
 * @param {any} other
 */
export function sameGrid(one, other) {
  return ["width", "height", "downsample"].every((name) => one[name] === other[name]);
}

/**
 * Return the first's label value by the second's, for classes of the same name; 255 for those the first lacks.
 * @param {import("./palette.js").LabelClass[]} first
 * @param {import("./palette.js").LabelClass[]} second
 */
export function mappingOf(first, second) {
  const mapping = new Uint8Array(256).fill(255);
  mapping[0] = 0;
  for (const { value, name } of second) mapping[value] = first.find((one) => one.name === name)?.value ?? 255;
  return mapping;
}

/**
 * @param {Uint8Array} one
 * @param {Uint8Array} other
 * @param {Uint8Array} mapping
 */
function differences(one, other, mapping) {
  const found = new Uint8Array(one.length);
  for (let at = 0; at < one.length; at++) {
    if (one[at] && other[at] && one[at] !== mapping[other[at]]) found[at] = DIFFERS;
  }
  return found;
}

/**
 * Count the pixels of each pair of labels.
 * @param {Uint8Array} one
 * @param {Uint8Array} other as long
 * @returns {Uint32Array} at 256 * one + other
 */
export function countPairs(one, other) {
  const counts = new Uint32Array(65_536);
  for (let at = 0; at < one.length; at++) counts[256 * one[at] + other[at]]++;
  return counts;
}
