/** Write numbers with their units. */

const BYTES = ["B", "kB", "MB", "GB", "TB"];

/**
 * @param {number} bytes
 */
export function formatBytes(bytes) {
  const power = Math.min(BYTES.length - 1, Math.floor(Math.log10(Math.max(bytes, 1)) / 3));
  const value = bytes / 1000 ** power;
  return `${power === 0 || value >= 99.5 ? Math.round(value) : value.toPrecision(2 + (value >= 10 ? 1 : 0))} ${BYTES[power]}`;
}

/**
 * Seconds as 0:42, 12:05 or 3:04:10.
 * @param {number} seconds
 */
export function formatDuration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (value) => String(value).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/**
 * Micrometres as µm below a millimetre, else mm.
 * @param {number} um
 */
export function formatLength(um) {
  if (um >= 1000) return `${(um / 1000).toFixed(um >= 10_000 ? 1 : 2)} mm`;
  return `${um >= 100 ? Math.round(um) : um.toPrecision(um >= 10 ? 3 : 2)} µm`;
}

/**
 * @param {number} mm2
 */
export function formatArea(mm2) {
  if (mm2 === 0) return "0";
  return mm2 >= 100 ? mm2.toFixed(0) : mm2 >= 10 ? mm2.toFixed(1) : mm2.toFixed(mm2 >= 0.01 ? 2 : 4);
}

/**
 * @param {number} fraction 0..1
 */
export function formatPercent(fraction) {
  return `${(100 * fraction).toFixed(1)} %`;
}

/**
 * Thousands apart by thin spaces.
 * @param {number} value
 */
export function formatCount(value) {
  return Math.round(value)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, "\u2009");
}

/**
 * Date and time of day as the reader's system writes them; the time alone for today.
 * @param {string} iso
 */
export function formatTime(iso) {
  const moment = new Date(iso);
  const time = moment.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  if (moment.toDateString() === new Date().toDateString()) return time;
  return `${moment.toLocaleDateString([], { day: "numeric", month: "short" })} ${time}`;
}
