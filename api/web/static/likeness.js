// What a distance means, in a word: by the calibration of the collection or of the model, and nothing where none holds.

import * as api from "./api.js";
import { t } from "./text.js";

// Of pairs of different kinds, the share that is as near (docs/explanation/calibration.md).
const WORDS = [
  ["far_1e3", t("veryAlike"), t("oneInThousand")],
  ["far_1e2", t("alike"), t("oneInHundred")],
  ["eer", t("somewhatAlike"), t("moreOftenOfOneKind")],
];
const GENERAL = "general";
const known = new Map(); // by collection and model version

/** A function of a match, {distance, label}, which says {word, meaning}, or null. version: of the model that found them. */
export function likenessIn(collection, version, signal) {
  const key = `${collection} ${version}`;
  if (!known.has(key)) {
    const asked = calibrationOf(collection, version, signal);
    known.set(key, asked);
    asked.catch(() => known.delete(key));
  }
  return known.get(key).then(
    (found) => (match) => found && found.holds(match) ? wordFor(match.distance, found.distances) : null,
    () => () => null,
  );
}

async function calibrationOf(collection, version, signal) {
  const own = collection ? (await api.collection(collection, signal)).calibration : null;
  if (own?.model_version === version) return { distances: (await api.calibration(collection, signal)).distances, holds: () => true };
  const { card, domain } = await api.model(version, signal);
  if (!card.calibration) return null;
  const { distances, fitted } = card.calibration;
  // A model for one kind of pictures tells nothing of others.
  const labels = new Set(fitted.labels);
  return { distances, holds: ({ label }) => !domain || domain === GENERAL || labels.has(label) };
}

function wordFor(distance, distances) {
  const found = WORDS.find(([name]) => distance <= distances[name].distance);
  return found ? { word: found[1], meaning: found[2] } : null;
}
