/** Read the whole label map of a job at a coarse level, for what needs an overall view. */

import { ApiError, PREFIX } from "./api.js";

/**
 * @typedef {object} CoarseLabels
 * @property {Uint8Array} labels row-major
 * @property {number} width
 * @property {number} height
 * @property {number} scale level-0 px of the slide along the side of one of these pixels
 */

/**
 * Read the finest level whose longest side is at most `longest` pixels.
 * @param {string} jobId
 * @param {any} info answer of GET /v1/jobs/{id}/tiles
 * @param {number} longest
 * @returns {Promise<CoarseLabels>}
 * @throws {ApiError}
 */
export async function readCoarse(jobId, info, longest) {
  let level = 0;
  while (level < info.levels - 1 && Math.max(info.width, info.height) / 2 ** level > longest) level++;
  const [width, height] = [info.width, info.height].map((side) => Math.ceil(side / 2 ** level));
  const labels = new Uint8Array(width * height);
  const places = [];
  for (let row = 0; row * info.tile_px < height; row++) {
    for (let column = 0; column * info.tile_px < width; column++) places.push([column, row]);
  }
  await Promise.all(
    places.map(async ([column, row]) => {
      const tile = await readTile(
        `${PREFIX}/jobs/${jobId}/tiles/${level}/${column}_${row}?v=${encodeURIComponent(info.version)}`,
      );
      if (tile)
        copyTile(tile, info.tile_px, labels, width, height, column * info.tile_px, row * info.tile_px);
    }),
  );
  return { labels, width, height, scale: info.downsample * 2 ** level };
}

/**
 * @param {string} address
 * @returns {Promise<Uint8Array | null>} null where all is 0
 */
async function readTile(address) {
  const response = await fetch(address);
  if (!response.ok) throw new ApiError(response.status, `The labels cannot be read (${response.status}).`);
  return response.status === 204 ? null : new Uint8Array(await response.arrayBuffer());
}

/**
 * @param {Uint8Array} tile
 * @param {number} side
 * @param {Uint8Array} labels
 * @param {number} width
 * @param {number} height
 * @param {number} x
 * @param {number} y
 */
function copyTile(tile, side, labels, width, height, x, y) {
  const columns = Math.min(side, width - x);
  for (let row = 0; row < Math.min(side, height - y); row++) {
    labels.set(tile.subarray(row * side, row * side + columns), (y + row) * width + x);
  }
}
