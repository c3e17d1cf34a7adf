// Who is who among the poses of an image; see `hourglass_jax/inference/similarity.py`.

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / Math.max(values.length, 1);

/** Returns a person's score; see `Poses.person_scores` in `hourglass_jax/inference/found.py`. */
export function scoreOf({ joints, boxScore }) {
  const scores = joints.map((joint) => joint.score).toSorted((a, b) => a - b);
  if (boxScore === undefined) return mean(scores);
  return Math.sqrt(mean(scores.slice(Math.floor(scores.length / 2))) * boxScore);
}

/** Returns the people, the best first, without those who are shown before. */
export function distinct(people, network) {
  const kept = [];
  for (const person of people.toSorted((a, b) => scoreOf(b) - scoreOf(a))) {
    if (kept.every((other) => oks(person, other, network) < network.same)) kept.push(person);
  }
  return kept;
}

/** Returns the object keypoint similarity of two poses. */
function oks(first, second, { sigmas, sure, personInBox }) {
  const areas = [first, second].map(({ box }) => personInBox * box[2] * box[3]);
  const area = Math.max(mean(areas), 1);
  let [sum, count] = [0, 0];
  first.joints.forEach((joint, i) => {
    const other = second.joints[i];
    if (joint.score <= sure || other.score <= sure) return;
    const squared = (joint.x - other.x) ** 2 + (joint.y - other.y) ** 2;
    sum += Math.exp(-squared / (2 * area * (2 * sigmas[i]) ** 2));
    count += 1;
  });
  return sum / Math.max(count, 1);
}
