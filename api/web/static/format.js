// Numbers, sizes and times as people read them.

import { language, t } from "./text.js";

const NUMBER = new Intl.NumberFormat(language);
const AGO = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
const WHEN = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });
/** @type {[Intl.RelativeTimeFormatUnit, number][]} */
const SPANS = [
  ["year", 31_557_600],
  ["month", 2_629_800],
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];

export const number = (value) => NUMBER.format(value);
export const decimal = (value, digits) => new Intl.NumberFormat(language, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
export const percent = (share, digits = 0) => `${decimal(100 * share, digits)} %`;
export const when = (text) => WHEN.format(new Date(text));

export function ago(text) {
  const seconds = (new Date(text).getTime() - Date.now()) / 1000;
  const [unit, length] = SPANS.find(([, span]) => Math.abs(seconds) >= span) ?? [/** @type {const} */ ("second"), 1];
  return unit === "second" ? t("justNow") : AGO.format(Math.round(seconds / length), unit);
}

export function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  const power = Math.min(3, Math.floor(Math.log2(bytes) / 10));
  return `${decimal(bytes / 1024 ** power, power > 1 ? 1 : 0)} ${["B", "KB", "MB", "GB"][power]}`;
}

export function seconds(count) {
  if (count < 90) return `${Math.round(count)} s`;
  return count < 5400 ? `${Math.round(count / 60)} min` : `${decimal(count / 3600, 1)} h`;
}

/** @type {[string, number][]} */
const UNITS = [["week", 604_800], ["day", 86_400], ["hour", 3_600], ["minute", 60], ["second", 1]];

/** A length of time in the largest unit of which it is a whole number. */
export function span(count) {
  const [unit, length] = UNITS.find(([, size]) => count % size === 0);
  return new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay: "long" }).format(count / length);
}
