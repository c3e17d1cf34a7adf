// Finds boxes and poses in an image: `Detector` and `PoseEstimator` of the Python package.

import * as boxes from "./boxes.js";
import { apply } from "./geometry.js";
import * as joints from "./joints.js";
import { distinct, scoreOf } from "./people.js";
import { asInput, square } from "./pixels.js";
import { windowsOf } from "./windows.js";

const CAMERA_SHARE = 0.75; // of the lowest score of a person, the lowest score of a box

export class Estimator {
  /**
   * @param site content of site.json.
   * @param networks {detector, pose}: functions of a batch of squares and their side that return
   *   the maps of each; either may be missing.
   */
  constructor(site, networks) {
    this.site = site;
    this.networks = networks;
  }

  /**
   * Returns the people in an image, or the objects where there is no network for poses.
   *
   * @param image {width, height, read}; see pixels.js.
   * @param options `fast`: leave out the mirror image, and find in the smallest size of the image
   *   alone; `minScore`: lowest score of a person, or of a box where there are no
   *   poses, if not that of the settings; `boxes`: people's
   *   boxes [{box, score, before}], if they need not be found; `before` is passed on.
   */
  async find(image, options) {
    const { detector, pose } = this.site;
    const least = options.minScore ?? detector?.minScore ?? 0;
    // Before a camera, where one size is looked at, doubtful boxes cost more time than they are worth.
    const share = options.fast ? CAMERA_SHARE : (detector?.boxShare ?? 1);
    const lowest = pose ? share * least : least;
    const all = { ...options, minScore: lowest };
    const found = options.boxes ?? (detector ? await this.detect(image, all) : null);
    if (!pose) return found;
    if (!found) return [await this.pose(image, wholeOf(image, pose.margin), options)];
    const people = [];
    for (const { box, score, before } of found) {
      people.push({ ...(await this.pose(image, box, options)), boxScore: score, before });
    }
    const sure = (person) => person.boxScore === undefined || scoreOf(person) >= least;
    return distinct(people, pose).filter(sure);
  }

  async detect(image, { fast, minScore }) {
    const network = this.site.detector;
    const mirror = !fast && network.flipTest;
    const parts = [];
    for (const side of fast ? [Math.min(...network.sides)] : network.sides) {
      for (const window of windowsOf(image)) {
        const { pixels, toImage } = square(image, window.middle, window.side, side, 1);
        const views = await this.networks.detector(asInput(pixels, side, mirror), side);
        parts.push({ boxes: boxes.decode(views, network), toImage, cut: window.cut });
      }
    }
    const found = boxes.pool(parts, image, { ...network, minScore });
    return found
      .filter(({ category }) => network.only === null || category === network.only)
      .map(({ corners: [x1, y1, x2, y2], score, category }) => ({
        box: [x1, y1, x2 - x1, y2 - y1],
        score,
        category,
      }));
  }

  async pose(image, box, { fast }) {
    const network = this.site.pose;
    const [side] = network.sides;
    const [x, y, width, height] = box;
    const center = [x + (width - 1) / 2, y + (height - 1) / 2];
    const size = Math.max(Math.max(width, height) * network.margin, 2);
    const { pixels, toImage } = square(image, center, size, side, 1.1);
    const input = asInput(pixels, side, !fast && network.flipTest);
    const found = joints.decode(await this.networks.pose(input, side), network);
    return {
      box,
      joints: found.map(({ place, score }) => {
        const [jointX, jointY] = apply(toImage, place);
        return { x: jointX, y: jointY, score };
      }),
    };
  }
}

/** Returns the box whose crop is the image, where people rarely touch the borders. */
function wholeOf({ width, height }, margin) {
  const share = (1 - 1 / margin) / 2;
  return [width * share, height * share, width / margin, height / margin];
}
