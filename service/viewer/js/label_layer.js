/** Draw a label map over a slide, in step with it, from tiles that are painted here. */

import { paintTile } from "./label_paint.js";

/** @typedef {import("./label_tiles.js").LabelTiles | import("./difference_tiles.js").DifferenceTiles} LabelTiles */

/** Painted tiles kept; 1 MB each. */
const KEPT = 96;

export class LabelLayer {
  /** @type {LabelTiles | null} */
  #tiles = null;
  /** @type {Map<string, {canvas: HTMLCanvasElement, change: number}>} */
  #painted = new Map();
  /** @type {{table: Uint32Array, outline: boolean}} */
  #style = { table: new Uint32Array(256), outline: false };
  #scheduled = false;
  /** Called after each drawing. */
  onDrawn = () => {};

  /** @param {import("./slide_view.js").SlideView} view */
  constructor(view) {
    this.view = view;
    this.canvas = document.createElement("canvas");
    this.canvas.className = "label-layer";
    this.canvas.setAttribute("aria-hidden", "true");
    view.osd.canvas.append(this.canvas);
    view.osd.addHandler("update-viewport", () => this.draw());
  }

  /** @param {LabelTiles | null} tiles stay the caller's to close */
  set tiles(tiles) {
    this.#tiles = tiles;
    this.#painted.clear();
    this.redraw();
  }

  get tiles() {
    return this.#tiles;
  }

  /**
   * Change the colours; what is seen is painted again from the labels at hand.
   * @param {{table: Uint32Array, outline: boolean}} style
   */
  set style(style) {
    this.#style = style;
    this.#painted.clear();
    this.redraw();
  }

  /** @param {number} opacity 0..1 */
  set opacity(opacity) {
    this.canvas.style.opacity = String(opacity);
  }

  /** Draw with the next frame. */
  redraw() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    requestAnimationFrame(() => {
      this.#scheduled = false;
      this.draw();
    });
  }

  /** Draw now, and ask for the tiles that lack. */
  draw() {
    this.#drawNow();
    this.onDrawn();
  }

  #drawNow() {
    const context = this.#cleared();
    if (!this.#tiles || !this.view.slide) return;
    const tiles = this.#tiles;
    const ratio = window.devicePixelRatio || 1;
    const { left, top, scale } = this.view.frame();
    const labelScale = scale * ratio * tiles.info.downsample;
    const origin = { x: -left * scale * ratio, y: -top * scale * ratio };
    const level = Math.min(tiles.levels - 1, Math.max(0, Math.round(-Math.log2(labelScale))));
    context.imageSmoothingEnabled = labelScale * 2 ** level < 1;
    const places = this.#visible(level, labelScale, origin);
    for (const place of places) this.#drawPlace(context, place, labelScale, origin);
    tiles.want(places);
  }

  /** @returns {CanvasRenderingContext2D} of the canvas, of the right size and empty */
  #cleared() {
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(this.view.host.clientWidth * ratio);
    const height = Math.round(this.view.host.clientHeight * ratio);
    const context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    } else {
      context.clearRect(0, 0, width, height);
    }
    return context;
  }

  /**
   * Places of the tiles in view, those in the middle first.
   * @param {number} level
   * @param {number} labelScale device px a label px
   * @param {{x: number, y: number}} origin of the label map, device px
   */
  #visible(level, labelScale, origin) {
    const tiles = /** @type {LabelTiles} */ (this.#tiles);
    const side = tiles.side * 2 ** level * labelScale;
    const size = tiles.size(level);
    const range = (start, extent, count) => [
      Math.max(0, Math.floor(-start / side)),
      Math.min(Math.ceil(count / tiles.side), Math.ceil((extent - start) / side)),
    ];
    const [x0, x1] = range(origin.x, this.canvas.width, size.width);
    const [y0, y1] = range(origin.y, this.canvas.height, size.height);
    const places = [];
    for (let row = y0; row < y1; row++)
      for (let column = x0; column < x1; column++) places.push([level, column, row]);
    const [middleX, middleY] = [(x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2];
    /** @param {number[]} place */
    const distance = ([, column, row]) => Math.hypot(column - middleX, row - middleY);
    return places.sort((one, other) => distance(one) - distance(other));
  }

  /**
   * Draw one place from its tile, or until that is here from a coarser one, or from four finer ones.
   * @param {CanvasRenderingContext2D} context
   * @param {number[]} place [level, column, row]
   * @param {number} labelScale
   * @param {{x: number, y: number}} origin
   */
  #drawPlace(context, place, labelScale, origin) {
    const tiles = /** @type {LabelTiles} */ (this.#tiles);
    const [level, column, row] = place;
    const target = this.#target(place, labelScale, origin);
    for (let coarser = level; coarser < tiles.levels; coarser++) {
      const times = 2 ** (coarser - level);
      const [x, y] = [Math.floor(column / times), Math.floor(row / times)];
      const tile = tiles.get(coarser, x, y);
      if (!tile) continue;
      if (!tile.labels) return;
      const step = tiles.side / times;
      const from = { x: (column - x * times) * step, y: (row - y * times) * step };
      const part = { width: target.width / times, height: target.height / times };
      const picture = this.#picture(coarser, x, y, tile);
      context.drawImage(picture, from.x, from.y, part.width, part.height, ...target.box);
      return;
    }
    if (level === 0) return;
    for (const [x, y] of [
      [0, 0],
      [1, 0],
      [0, 1],
      [1, 1],
    ]) {
      const finer = [level - 1, 2 * column + x, 2 * row + y];
      const tile = tiles.get(finer[0], finer[1], finer[2]);
      if (!tile?.labels) continue;
      const { box, width, height } = this.#target(finer, labelScale, origin);
      if (width > 0 && height > 0) {
        context.drawImage(this.#picture(finer[0], finer[1], finer[2], tile), 0, 0, width, height, ...box);
      }
    }
  }

  /**
   * Where a tile goes. Edges are rounded to device px, so that neighbours meet without a seam.
   * @param {number[]} place [level, column, row]
   * @param {number} labelScale
   * @param {{x: number, y: number}} origin
   * @returns {{box: [number, number, number, number], width: number, height: number}} device px, and tile px in use
   */
  #target([level, column, row], labelScale, origin) {
    const { side, size } = {
      side: this.#tiles?.side ?? 512,
      size: this.#tiles?.size(level) ?? { width: 0, height: 0 },
    };
    const width = Math.min(side, size.width - column * side);
    const height = Math.min(side, size.height - row * side);
    const scale = labelScale * 2 ** level;
    const x = Math.round(origin.x + column * side * scale);
    const y = Math.round(origin.y + row * side * scale);
    const right = Math.round(origin.x + (column * side + width) * scale);
    const bottom = Math.round(origin.y + (row * side + height) * scale);
    return { box: [x, y, right - x, bottom - y], width, height };
  }

  /**
   * Return a tile as a picture, painted if it was not yet.
   * @param {number} level
   * @param {number} column
   * @param {number} row
   * @param {import("./label_tiles.js").LabelTile} tile with labels
   */
  #picture(level, column, row, tile) {
    const tiles = /** @type {LabelTiles} */ (this.#tiles);
    const key = `${level}/${column}_${row}`;
    let painted = this.#painted.get(key);
    this.#painted.delete(key);
    if (painted?.change !== tile.change) {
      const size = tiles.size(level);
      const part = {
        width: Math.min(tiles.side, size.width - column * tiles.side),
        height: Math.min(tiles.side, size.height - row * tiles.side),
      };
      const labels = /** @type {Uint8Array} */ (tile.labels);
      painted = { canvas: paintTile(labels, tiles.side, part, this.#style), change: tile.change };
    }
    const kept = /** @type {{canvas: HTMLCanvasElement, change: number}} */ (painted);
    this.#painted.set(key, kept);
    for (const oldest of this.#painted.keys()) {
      if (this.#painted.size <= KEPT) break;
      this.#painted.delete(oldest);
    }
    return kept.canvas;
  }
}
