// What the page says, in its reader's language. The texts are in texts/, one module a language, all with the same keys.

/** @typedef {keyof typeof import("./texts/en.js").default} Key */

export const LANGUAGES = { en: "English", de: "Deutsch" };
const KEPT = "umbel-language"; // a cookie
const YEAR = 365 * 24 * 60 * 60;

/** What was chosen here, else the first of the browser's languages that there is, else English. */
function preferred() {
  const asked = [kept(), ...navigator.languages].map((tag) => tag?.split("-")[0].toLowerCase());
  return asked.find((tag) => Object.hasOwn(LANGUAGES, tag ?? "")) ?? "en";
}

const kept = () => document.cookie.match(new RegExp(`(?:^|; )${KEPT}=(\\w+)`))?.[1];

export const language = preferred();
const texts = (await import(`./texts/${language}.js`)).default;
const plurals = new Intl.PluralRules(language);
const numbers = new Intl.NumberFormat(language);

/**
 * A text with values in its {places}: numbers as the language writes them, and the plural that fits `count`.
 * @param {Key} key
 * @param {Record<string, unknown>} values
 * @returns {string}
 */
export function t(key, values = {}) {
  const text = typeof texts[key] === "string" ? texts[key] : texts[key][plurals.select(Number(values.count))];
  return text.replace(/\{(\w+)\}/g, (_, name) => (typeof values[name] === "number" ? numbers.format(values[name]) : values[name]));
}

/**
 * Why the API refused something: what its code means, in the reader's language, and its own words, which are English.
 * @param {string | null} code
 * @param {string | null} detail
 * @returns {Promise<string>}
 */
export async function reason(code, detail) {
  const meaning = language === "en" ? null : (await import(`./texts/problems/${language}.js`)).default[code];
  return [meaning, meaning && detail ? `(${detail})` : detail].filter(Boolean).join(" ");
}

/** The page in another language, from now on, and the page to sign in, which has no scripts. */
export function choose(tag) {
  document.cookie = `${KEPT}=${tag}; path=${new URL(".", location.href).pathname}; max-age=${YEAR}; samesite=strict`;
  location.reload();
}
