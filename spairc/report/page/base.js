// What every page needs: data out of the document, elements from text, tables that sort.
// Text becomes text nodes only; nothing here or in the pages' own scripts writes markup.

const MISSING = "-"; // as in grid.py
const TINTS = 10; // as there
const collator = new Intl.Collator("en", { numeric: true });

/** Return what `embedded` in toolkit.py left in the document. */
function readData(name) {
  return JSON.parse(document.getElementById(name).textContent);
}

/** Return a new element; attributes that are null or false are left out, true gives a bare name. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

/** Return a foreign name: it turns no text around it, and breaks where its parts meet. */
function nameOf(text) {
  const parts = text.split(/(?<=[:/_-])/);
  return element("bdi", {}, ...parts.flatMap((part) => [element("wbr"), part]).slice(1));
}

/** Put children into an element in one step, in place of what is there. */
function fill(parent, children) {
  const fragment = document.createDocumentFragment();
  fragment.append(...children);
  parent.replaceChildren(fragment);
}

/** Return a number with one decimal, digit for digit as the tables that Python writes. */
function shown(value) {
  if (value === null) return MISSING;
  // Of what can be exactly between two decimals, toFixed takes the larger, Python the even one.
  const between = Math.abs(value) % 1 === 0.25;
  return (between ? value - Math.sign(value) * 0.05 : value).toFixed(1);
}

/** Return the mean; null if there is nothing, or something is missing. */
function mean(values) {
  if (values.length === 0 || values.includes(null)) return null;
  return values.reduce((sum, each) => sum + each, 0) / values.length;
}

/** Return a labelled choice; options are [value, label], or [label, [options]] for a group. */
function choice(label, options, chosen, onChange) {
  const select = element("select", {}, ...options.map(optionOf));
  select.value = chosen;
  select.addEventListener("change", () => onChange(select.value));
  return labelled(label, select);
}

/** Return a control below its label; the name of the control is the label's words alone. */
function labelled(label, control) {
  control.id = `choice-${label.toLowerCase().replaceAll(" ", "-")}`;
  return element("div", {}, element("label", { for: control.id }, label), control);
}

function optionOf([value, label]) {
  if (Array.isArray(label)) return element("optgroup", { label: value }, ...label.map(optionOf));
  return element("option", { value }, label);
}

/** Return a box to tick. */
function tick(label, checked, onChange) {
  const box = element("input", { type: "checkbox", checked });
  box.addEventListener("change", () => onChange(box.checked));
  return element("label", {}, box, label);
}

/** Return the lines of a table's caption, of which the first names its frame; as in grid.py. */
function captionLines(name, lines) {
  return lines.map((line, place) =>
    element("span", { class: "line", id: place === 0 ? `${name}-title` : null }, line),
  );
}

// Tables. The head's cells tell their column (data-column), what they hold (class number or text)
// and which way a first press sorts (data-first); a number's cell tells it in full (data-value).

/** Return the step of tint between a table's lowest and highest value; as `tint_of` in grid.py. */
function tintOf(value, low, high) {
  if (value === null || high <= low) return 0;
  return 1 + Math.floor(((TINTS - 1) * (value - low)) / (high - low) + 0.5);
}

/** Make the words of a table's head into buttons that sort it, and keep the order it had. */
function makeSortable(table) {
  for (const heading of table.tHead.querySelectorAll("th[data-column]")) {
    if (!heading.textContent) continue;
    const button = element("button", { type: "button" }, ...heading.childNodes);
    button.addEventListener("click", () => sortBy(table, heading, nextDirection(heading)));
    heading.append(button);
  }
}

function nextDirection(heading) {
  const now = heading.getAttribute("aria-sort");
  if (!now) return heading.dataset.first;
  return now === "ascending" ? "descending" : "ascending";
}

/** Sort a table's rows by a column; what has no value comes last both ways. */
function sortBy(table, heading, direction) {
  const body = table.tBodies[0];
  const place = Number(heading.dataset.column);
  const keyOf = heading.classList.contains("number") ? numberIn : textIn;
  const rows = Array.from(body.rows, (row) => [row, keyOf(row.cells[place])]);
  const sign = direction === "ascending" ? 1 : -1;
  rows.sort(([, first], [, second]) => compare(first, second, sign));
  for (const each of table.tHead.querySelectorAll("[aria-sort]")) each.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", direction);
  fill(body, rows.map(([row]) => row));
  table.dispatchEvent(new CustomEvent("sorted"));
}

function compare(first, second, sign) {
  if (first === null || second === null) return (first === null) - (second === null);
  if (typeof first === "number") return sign * (first - second);
  return sign * collator.compare(first, second);
}

function numberIn(cell) {
  return "value" in cell.dataset ? Number(cell.dataset.value) : null;
}

function textIn(cell) {
  const text = cell.textContent.trim();
  return text === "" || text === MISSING ? null : text;
}

for (const table of document.querySelectorAll("table.grid")) makeSortable(table);
// What needs a script is hidden until there is one.
for (const each of document.querySelectorAll("[data-scripted]")) each.hidden = false;
