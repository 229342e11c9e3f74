// One picture as a tile. Text only ever goes in as text.

export function tile(source, { label = "", note = "", open = null } = {}) {
  const item = document.createElement("li");
  const box = document.createElement(open ? "button" : "div");
  box.className = "tile";
  const picture = new Image();
  picture.loading = "lazy";
  picture.decoding = "async";
  picture.alt = label || "picture without a label";
  picture.src = source;
  const line = document.createElement("span");
  const name = document.createElement("span");
  name.textContent = label;
  const value = document.createElement("b");
  value.textContent = note;
  line.append(name, value);
  box.append(picture, line);
  if (open) {
    box.type = "button";
    box.addEventListener("click", open);
  }
  item.append(box);
  item.say = (text, bad = false) => {
    value.textContent = text;
    value.classList.toggle("bad", bad);
    box.title = bad ? text : "";
  };
  return item;
}
