/** Keep the page's address in step with what is looked at, and go where it leads. */

import { parse, write } from "./address.js";
import { MODES, compareWith, mode, other } from "./compare.js";
import { change, defaults, display } from "./display.js";
import * as session from "./session.js";

/** Milliseconds of rest until the address is written; browsers allow it a few times a second only. */
const REST = 250;

/**
 * Go where the address leads, now and whenever the reader changes it, and write it as the reader goes on.
 * @param {import("./slide_view.js").SlideView} view
 */
export function keepAddress(view) {
  /** Where to look at what is opened next. @type {import("./slide_view.js").Position | null} */
  let position = null;
  let timer = 0;
  session.stage.openSlide = async (slide, info) => {
    const wanted = position;
    position = null;
    await view.open(slide.id, info, wanted);
  };
  const restore = async () => {
    const place = parse(location.hash);
    position = place.position;
    change({ ...defaults(), ...place.display });
    const way = MODES.find(({ name }) => name === place.mode);
    if (way) mode.value = way.name;
    await open(place);
    // Left where the slide was open already.
    if (position && view.slide) view.moveTo(position, true);
    position = null;
  };
  const noteSoon = () => {
    clearTimeout(timer);
    timer = setTimeout(() => note(view), REST);
  };
  restore();
  window.addEventListener("hashchange", restore);
  view.osd.addHandler("update-viewport", noteSoon);
  [session.job, session.slide, session.opening, display, other, mode].forEach((signal) =>
    signal.watch(noteSoon),
  );
}

/** @param {import("./address.js").Place} place */
async function open(place) {
  if (!place.job) return place.slide ? session.openSlide(place.slide) : session.closeAll();
  await session.openJob(place.job);
  if (place.with && session.job.value?.id === place.job) await compareWith(place.with);
}

/**
 * Write the address. Another job or slide is a step that the back button undoes.
 * @param {import("./slide_view.js").SlideView} view
 */
function note(view) {
  const { job, slide } = session;
  const place = {
    job: job.value?.id ?? null,
    slide: slide.value?.id ?? null,
    position: view.slide ? view.position() : null,
    display: display.value,
    with: other.value?.job.id ?? null,
    mode: mode.value,
  };
  const address = place.job || place.slide ? write(place) : "";
  if (address === location.hash || session.opening.value) return;
  const before = parse(location.hash);
  const same = before.job === place.job && (place.job !== null || before.slide === place.slide);
  const where = address || location.pathname;
  if (same || !location.hash) history.replaceState(null, "", where);
  else history.pushState(null, "", where);
}
