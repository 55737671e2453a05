/** Paint label tiles: label values to colours, as areas or as outlines. */

/**
 * Paint a tile into a canvas of the size of its part that lies in the label map.
 * @param {Uint8Array} labels side x side, row-major
 * @param {number} side px
 * @param {{width: number, height: number}} part px
 * @param {{table: Uint32Array, outline: boolean}} style pixels by label value; 0 hides a class
 * @returns {HTMLCanvasElement}
 */
export function paintTile(labels, side, part, { table, outline }) {
  const canvas = document.createElement("canvas");
  canvas.width = part.width;
  canvas.height = part.height;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(part.width, part.height);
  const pixels = new Uint32Array(image.data.buffer);
  (outline ? fillOutlines : fillAreas)(pixels, labels, side, part, table);
  context.putImageData(image, 0, 0);
  return canvas;
}

/**
 * @param {Uint32Array} pixels
 * @param {Uint8Array} labels
 * @param {number} side
 * @param {{width: number, height: number}} part
 * @param {Uint32Array} table
 */
function fillAreas(pixels, labels, side, { width, height }, table) {
  for (let y = 0, to = 0; y < height; y++) {
    for (let from = y * side, end = from + width; from < end; from++, to++) pixels[to] = table[labels[from]];
  }
}

/**
 * Keep the pixels that touch another class that is shown, or none. Beyond the tile nothing is known, so no
 * outline runs along its border.
 * @param {Uint32Array} pixels
 * @param {Uint8Array} labels
 * @param {number} side
 * @param {{width: number, height: number}} part
 * @param {Uint32Array} table
 */
function fillOutlines(pixels, labels, side, { width, height }, table) {
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++, to++) {
      const at = y * side + x;
      const colour = table[labels[at]];
      const inside =
        (x === 0 || table[labels[at - 1]] === colour) &&
        (x === width - 1 || table[labels[at + 1]] === colour) &&
        (y === 0 || table[labels[at - side]] === colour) &&
        (y === height - 1 || table[labels[at + side]] === colour);
      pixels[to] = inside ? 0 : colour;
    }
  }
}
