// What was found as a table on the page, and as files: entries and rows as `predict` writes them.

import { scoreOf } from "./people.js";

const HEADS = { pose: ["Person", "Score", "Joints"], detector: ["Object", "Score", "Category"] };

/** Returns rows of a table for people: texts alone, as names must never become HTML. */
export function summary(found, site, minJointScore) {
  const rows = found.map((one, i) => {
    const number = String(i + 1);
    if (!site.pose) return [number, one.score.toFixed(2), site.detector.categories[one.category]];
    const shown = one.joints.filter(({ score }) => score > minJointScore).length;
    return [number, scoreOf(one).toFixed(2), `${shown} of ${one.joints.length}`];
  });
  return { heads: HEADS[site.pose ? "pose" : "detector"], rows };
}

/** Returns what was found as the content of predictions.json: COCO's results format. */
export function toJson(name, found, site) {
  const entries = found.map((one) => ({ image_id: name, ...entryOf(one, site) }));
  return JSON.stringify(entries, null, 1);
}

/** Returns what was found as the content of predictions.csv: a row per joint, or per box. */
export function toCsv(name, found, site) {
  const rows = [
    site.pose
      ? ["image", "person", "joint", "x", "y", "score"]
      : ["image", "object", "category", "score", "x", "y", "width", "height"],
  ];
  found.forEach((one, i) => {
    const { keypoints, category, score, bbox } = entryOf(one, site);
    if (site.pose) {
      site.pose.joints.forEach((joint, j) => {
        const [x, y, height] = keypoints.slice(3 * j, 3 * j + 3);
        rows.push([name, i, joint, x.toFixed(2), y.toFixed(2), height.toFixed(4)]);
      });
    } else {
      const sides = bbox.map((value) => value.toFixed(2));
      rows.push([name, i, category, score.toFixed(4), ...sides]);
    }
  });
  return rows.map((row) => `${row.map(quoted).join(",")}\r\n`).join("");
}

function entryOf(one, { pose, detector }) {
  const bbox = one.box.map((value) => rounded(value, 2));
  if (pose) {
    const keypoints = one.joints.flatMap(({ x, y, score }) => [x, y, score]);
    return {
      category_id: 1,
      bbox,
      keypoints: keypoints.map((value) => rounded(value, 4)),
      score: rounded(scoreOf(one), 4),
    };
  }
  return {
    category_id: detector.ids[one.category],
    category: detector.categories[one.category],
    bbox,
    score: rounded(one.score, 4),
  };
}

function rounded(value, digits) {
  return Number(value.toFixed(digits));
}

function quoted(value) {
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
