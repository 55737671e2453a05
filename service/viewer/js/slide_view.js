/** Show a slide with OpenSeadragon, and say where on it the view is. */

import { ApiError, PREFIX } from "./api.js";

const OSD = /** @type {any} */ (window).OpenSeadragon;
const STILL = window.matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Whether the library is there; without npm at installation it is not. */
export const available = Boolean(OSD);

// OpenSeadragon adds an inline style, which the page's Content-Security-Policy forbids, unless it finds an element
// of this name. One of no namespace has the name and is no style.
const placeholder = document.createElementNS(null, "style");
placeholder.setAttribute("data-openseadragon-mobile-css", "");
document.head.append(placeholder);

/** @typedef {{x: number, y: number, zoom: number}} Position centre in level-0 px, screen px a level-0 px */

export class SlideView {
  /**
   * @param {HTMLElement} host
   * @param {HTMLElement | null} overview where the overview map goes
   */
  constructor(host, overview = null) {
    this.host = host;
    this.slide = null;
    this.osd = OSD({
      element: host,
      drawer: "canvas",
      showNavigationControl: false,
      showNavigator: overview !== null,
      navigatorElement: overview ?? undefined,
      navigatorAutoFade: false,
      animationTime: STILL ? 0 : 0.35,
      springStiffness: 8,
      maxZoomPixelRatio: 12,
      minZoomImageRatio: 0.7,
      visibilityRatio: 0.3,
      zoomPerScroll: 1.3,
      preserveImageSizeOnResize: true,
      imageLoaderLimit: 4,
      maxTilesPerFrame: 6,
      maxImageCacheCount: 400,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
      gestureSettingsTouch: { clickToZoom: false, dblClickToZoom: true },
    });
    // The page has keys of its own, which work wherever the focus is.
    this.osd.addHandler("canvas-key", (event) => {
      event.preventDefaultAction = true;
    });
    this.osd.canvas.setAttribute("aria-label", "Slide: arrow keys pan, plus and minus zoom");
    this.osd.canvas.setAttribute("role", "application");
  }

  /**
   * Open a slide; resolves once its frame is known and the view may be moved.
   * @param {string} slideId
   * @param {any} info answer of GET /v1/slides/{id}/tiles
   * @param {Position | null} position where to look; all of the slide if null
   */
  open(slideId, info, position = null) {
    const last = info.levels - 1;
    const base = `${PREFIX}/slides/${slideId}/tiles`;
    const source = {
      width: info.width,
      height: info.height,
      tileSize: info.tile_px,
      tileOverlap: 0,
      minLevel: 0,
      maxLevel: last,
      getTileUrl: (level, column, row) =>
        `${base}/${last - level}/${column}_${row}.${info.format}?v=${encodeURIComponent(info.version)}`,
    };
    return new Promise((resolve, reject) => {
      this.osd.addOnceHandler("open", () => {
        this.slide = { id: slideId, ...info };
        if (position) this.moveTo(position, true);
        resolve(this.slide);
      });
      this.osd.addOnceHandler("open-failed", (event) =>
        reject(new ApiError(0, `The slide cannot be shown: ${event.message}`)),
      );
      this.osd.open(source);
    });
  }

  /** Show nothing. */
  close() {
    this.osd.close();
    this.slide = null;
  }

  /** Whether tiles of the slide that should be seen are not there yet. */
  get loading() {
    return this.slide !== null && this.osd.world.getItemAt(0)?.getFullyLoaded() !== true;
  }

  get viewport() {
    return this.osd.viewport;
  }

  /**
   * Where the view is now, in the midst of a movement too.
   * @returns {{left: number, top: number, scale: number}} level-0 px of the top left corner, screen px a level-0 px
   */
  frame() {
    const bounds = this.viewport.getBounds(true);
    const { x: width } = this.viewport.getContainerSize();
    const side = this.slide.width;
    return { left: bounds.x * side, top: bounds.y * side, scale: width / (bounds.width * side) };
  }

  /** @returns {Position} where the view is going to */
  position() {
    const centre = this.viewport.getCenter(false);
    const zoom = this.viewport.viewportToImageZoom(this.viewport.getZoom(false));
    return { x: centre.x * this.slide.width, y: centre.y * this.slide.width, zoom };
  }

  /** @returns {Position} where the view is now, in the midst of a movement too */
  now() {
    const centre = this.viewport.getCenter(true);
    return { x: centre.x * this.slide.width, y: centre.y * this.slide.width, zoom: this.frame().scale };
  }

  /**
   * @param {Position} position
   * @param {boolean} [atOnce]
   */
  moveTo({ x, y, zoom }, atOnce = false) {
    const side = this.slide.width;
    this.viewport.zoomTo(this.viewport.imageToViewportZoom(zoom), null, atOnce);
    this.viewport.panTo(new OSD.Point(x / side, y / side), atOnce);
    this.viewport.applyConstraints(atOnce);
  }

  /**
   * Show a rectangle with some margin.
   * @param {{x: number, y: number, width: number, height: number}} box level-0 px
   */
  show({ x, y, width, height }) {
    const side = this.slide.width;
    const margin = 0.35 * Math.max(width, height);
    const box = new OSD.Rect(
      (x - margin) / side,
      (y - margin) / side,
      (width + 2 * margin) / side,
      (height + 2 * margin) / side,
    );
    this.viewport.fitBoundsWithConstraints(box, STILL);
  }

  /**
   * Show all of the slide.
   * @param {boolean} [atOnce]
   */
  fit(atOnce = STILL) {
    this.viewport.goHome(atOnce);
  }

  /** Whether all of the slide is seen, as `fit` shows it. */
  isWhole() {
    return Math.abs(this.viewport.getZoom(false) / this.viewport.getHomeZoom() - 1) < 0.01;
  }

  /** @param {number} factor */
  zoomBy(factor) {
    this.viewport.zoomBy(factor, null, STILL).applyConstraints(STILL);
  }

  /** One level-0 px a screen px. */
  zoomToActual() {
    this.viewport.zoomTo(this.viewport.imageToViewportZoom(1), null, STILL).applyConstraints(STILL);
  }

  /**
   * Move by a part of what is seen.
   * @param {number} x
   * @param {number} y
   */
  panBy(x, y) {
    const { width, height } = this.viewport.getBounds(false);
    this.viewport.panBy(new OSD.Point(x * width, y * height), STILL).applyConstraints(STILL);
  }

  /**
   * Level-0 px under a point of the screen.
   * @param {{clientX: number, clientY: number}} event
   */
  placeOf({ clientX, clientY }) {
    const { left, top } = this.host.getBoundingClientRect();
    const frame = this.frame();
    return { x: frame.left + (clientX - left) / frame.scale, y: frame.top + (clientY - top) / frame.scale };
  }
}
