// What happened, in a line that is seen and that screen readers speak.

const SECONDS = 6;
let timer = 0;

export function say(text, { bad = false } = {}) {
  const line = document.getElementById("said");
  line.textContent = text;
  line.classList.toggle("bad", bad);
  line.classList.add("shown");
  clearTimeout(timer);
  timer = setTimeout(() => line.classList.remove("shown"), SECONDS * 1000);
}

/** Run an act and say what it says, or why it did not come to be. Its answer, undefined after a refusal. */
export async function tried(act, done = null) {
  try {
    const answer = await act();
    if (done) say(typeof done === "function" ? done(answer) : done);
    return answer;
  } catch (error) {
    if (error.name !== "AbortError") say(error.message, { bad: true });
    return undefined;
  }
}
