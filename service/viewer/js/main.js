/** Start the page: put its parts together and keep slide, job and address in step. */

import { addSlides } from "./add_slides.js";
import { comparePanel, other, stopComparing } from "./compare.js";
import { compareStage } from "./compare_stage.js";
import { display, layerStyle } from "./display.js";
import { element, icon } from "./dom.js";
import { downloads, modelCard, provenance, slideFacts } from "./facts.js";
import { jobHead, warningsPanel } from "./job_panel.js";
import { keepAddress } from "./keep_address.js";
import { heatLayer, heating, probabilityAt } from "./heat.js";
import { addKeys, helpDialog, listenToKeys } from "./keys.js";
import { LabelLayer } from "./label_layer.js";
import { LabelTiles } from "./label_tiles.js";
import { legend } from "./legend.js";
import { lists, tab } from "./lists.js";
import { admitted } from "./login.js";
import { measureLayer } from "./measure.js";
import { readout } from "./readout.js";
import { chosenClass, regionsPanel } from "./regions.js";
import { runForm } from "./run_form.js";
import { scaleBar } from "./scale_bar.js";
import * as session from "./session.js";
import { SlideView, available } from "./slide_view.js";
import { toolbar, viewKeys } from "./tools.js";

const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** Put the left side together: adding slides, lists. */
function buildWork() {
  byId("work").append(addSlides(onUploaded), lists());
  const toggle = byId("toggle-work");
  toggle.append(icon("panel"));
  toggle.setAttribute("aria-label", "Slides and jobs");
  toggle.title = "Show or hide slides and jobs (B)";
  const flip = () => {
    const hidden = document.body.classList.toggle("without-work");
    toggle.setAttribute("aria-expanded", String(!hidden));
  };
  toggle.addEventListener("click", flip);
  addKeys([{ keys: ["b"], words: "Show or hide slides and jobs", group: "Page", run: flip }]);
}

/** @param {any} slide */
async function onUploaded(slide) {
  await session.refreshLists();
  tab.value = "slides";
  if (!session.job.value && session.slide.value?.id !== slide.id) session.openSlide(slide.id);
}

/**
 * Put the right side together: what is known of the open slide or job.
 * @param {HTMLElement | null} regions panel of regions, where slides can be shown
 */
function buildDetails(regions) {
  const welcome = element(
    "section",
    { class: "panel welcome" },
    element("h2", {}, "Nothing is open"),
    element(
      "p",
      {},
      "Add a slide or choose one, then run a model on it. The labels appear on the slide while they are computed.",
    ),
  );
  const run = element(
    "section",
    { class: "panel", "aria-labelledby": "run-title" },
    element("h3", { id: "run-title" }, "Run a model"),
    runForm(),
  );
  const shown = legend((value) => (chosenClass.value = value));
  const panels = [
    welcome,
    jobHead(),
    warningsPanel(),
    slideFacts(),
    run,
    shown,
    regions,
    comparePanel(),
    downloads(),
    modelCard(),
    provenance(),
  ];
  byId("details").append(...panels.filter((panel) => panel !== null));
  session.opening.watch((opening) => byId("details").classList.toggle("opening", opening));
  const draw = () => {
    const { slide, job } = session;
    welcome.hidden = Boolean(slide.value || job.value);
    run.hidden = !slide.value || Boolean(job.value);
    const name = slide.value?.name ?? job.value?.slide.name ?? "";
    byId("place").textContent = name;
    document.title = name ? `${name} - darefine` : "darefine";
  };
  session.slide.watch(draw);
  session.job.watch(draw);
}

/** Put the middle together: the slide with its labels. @returns {SlideView} */
function buildStage() {
  const host = element("div", { class: "slide-view" });
  const overview = element("div", { class: "overview", id: "overview" });
  byId("stage").append(host, overview);
  const view = new SlideView(host, overview);
  // First, so that outlines of labels lie over it.
  const heat = heatLayer(view);
  const layer = new LabelLayer(view);
  const { layers, beside } = compareStage(view, layer);
  const line = readout(view, shownResults(layer), (place) => probabilityAt(heat, place));
  line.follow(beside);
  const measure = measureLayer(view);
  const trouble = element("p", { class: "trouble problem", role: "alert" });
  byId("stage").append(measure.node, toolbar(view), scaleBar(view), line.node, trouble);
  viewKeys(view, measure.mark);
  session.trouble.watch((words) => {
    trouble.hidden = !words;
    trouble.textContent = words ?? "";
  });
  session.slide.watch((slide) => !slide && view.slide && view.close());
  session.stage.setTiles = (tiles) => {
    layer.tiles = tiles;
    if (!tiles) stopComparing();
  };
  session.stage.redraw = () => {
    [layer, heat, ...layers].forEach((one) => one.redraw());
    line.draw();
  };
  sayBusy(view, [layer, heat, ...layers]);
  const restyle = () => {
    layer.style = layerStyle(session.grid.value?.classes ?? [], display.value);
    layer.canvas.hidden = heating.value && !display.value.outline;
  };
  heating.watch(restyle);
  session.grid.watch(restyle);
  display.watch(restyle);
  return view;
}

/**
 * The results on the stage, with their classes.
 * @param {LabelLayer} layer of the open job
 */
function shownResults(layer) {
  return () => [layer.tiles, other.value?.tiles].filter((tiles) => tiles instanceof LabelTiles);
}

/**
 * Say on the stage whether what should be seen is still being loaded.
 * @param {SlideView} view
 * @param {LabelLayer[]} layers
 */
function sayBusy(view, layers) {
  const say = () => {
    const busy =
      session.opening.value || view.loading || layers.some(({ tiles }) => tiles && !tiles.complete);
    byId("stage").setAttribute("aria-busy", String(busy));
  };
  layers.forEach((layer) => (layer.onDrawn = say));
  session.opening.watch(say);
  view.osd.world.addHandler("add-item", ({ item }) => item.addHandler("fully-loaded-change", say));
}

/** Start. */
async function start() {
  const help = helpDialog();
  const showHelp = byId("show-help");
  showHelp.append(icon("help"));
  showHelp.setAttribute("aria-label", "Keys");
  showHelp.title = "Keys (?)";
  showHelp.addEventListener("click", help.open);
  addKeys([{ keys: ["?"], words: "This help", group: "Page", run: help.open }]);
  listenToKeys();
  await admitted(byId("who"));
  session.keepLists();
  buildWork();
  if (available) {
    const view = buildStage();
    const { panel, step } = regionsPanel(view);
    buildDetails(panel);
    addKeys([
      { keys: ["n"], words: "Next largest region of the class", group: "Labels", run: () => step(1) },
      { keys: ["p"], words: "Previous region", group: "Labels", run: () => step(-1) },
    ]);
    keepAddress(view);
  } else {
    buildDetails(null);
    byId("stage").append(
      element(
        "p",
        { class: "trouble problem" },
        "The library that shows slides (OpenSeadragon) is missing: the service was installed without access to npm. " +
          "Install it again where npm's registry can be reached. Uploads, jobs and downloads work without it.",
      ),
    );
  }
  addKeys([{ keys: ["u"], words: "Add slides", group: "Page", run: () => byId("choose-slides").click() }]);
}

start();
