/* Tangled from chapters/68-site.md; edit there. */
"use strict";
/* Choose light or dark */
const root = document.documentElement;

function remember(theme) {
    root.dataset.theme = theme;
    try { localStorage.setItem("theme", theme); } catch { return; }
}

try {
    const theme = localStorage.getItem("theme");
    if (theme) root.dataset.theme = theme;
} catch { delete root.dataset.theme; }

/* Switch between light and dark */
function switchTheme() {
    const button = document.getElementById("theme");
    if (!button) return;
    const asked = matchMedia("(prefers-color-scheme: dark)");
    const dark = () => (root.dataset.theme || (asked.matches ? "dark" : "")) === "dark";
    const say = () => { button.textContent = dark() ? "Light" : "Dark"; };
    button.addEventListener("click", () => {
        remember(dark() ? "light" : "dark");
        say();
    });
    asked.addEventListener("change", say);
    say();
    button.hidden = false;
}
/* Offer to copy each chunk */
function codeOf(pre) {
    const copy = pre.cloneNode(true);
    for (const mention of copy.querySelectorAll("i"))
        mention.textContent = mention.textContent.replace(/^⟨(.*)⟩$/, "<<$1>>");
    return copy.textContent + "\n";
}

function offerCopies() {
    if (!navigator.clipboard) return;
    for (const pre of document.querySelectorAll(".chunk pre")) {
        const button = document.createElement("button");
        button.className = "copy";
        button.textContent = "Copy";
        button.addEventListener("click", async () => {
            await navigator.clipboard.writeText(codeOf(pre));
            button.textContent = "Copied";
            setTimeout(() => { button.textContent = "Copy"; }, 2000);
        });
        pre.previousElementSibling.append(button);
    }
}
/* Let the keyboard scroll */
function letScroll() {
    for (const box of document.querySelectorAll("pre, .wide"))
        if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
}
/* Search */
let rows = null;

function searchable(list) {
    rows = list.map(([title, kind, address, text]) => ({ title, kind, address, text,
        low: title.toLowerCase(), all: (title + " " + text).toLowerCase() }));
    document.getElementById("query").dispatchEvent(new Event("input"));
}

function find(words) {
    const whole = words.join(" ");
    const rank = (row) => row.low === whole ? 0 : row.low.startsWith(whole) ? 1
        : row.low.includes(whole) ? 2 : row.all.includes(whole) ? 3 : 4;
    return rows.filter((row) => words.every((word) => row.all.includes(word)))
        .map((row) => [rank(row), row]).sort((a, b) => a[0] - b[0])
        .map(([, row]) => row);
}

/* Show what was found */
function excerpt(text, word) {
    const at = text.toLowerCase().indexOf(word);
    if (at < 0) return "";
    const line = document.createElement("span"), mark = document.createElement("mark");
    mark.textContent = text.slice(at, at + word.length);
    line.append(document.createElement("br"), text.slice(Math.max(0, at - 50), at),
        mark, text.slice(at + word.length, at + word.length + 70));
    return line;
}

function showFound(box, words) {
    const found = find(words), count = document.createElement("p");
    count.setAttribute("role", "status");
    count.textContent = found.length === 1 ? "1 place" : found.length + " places";
    box.replaceChildren(count, ...found.slice(0, 30).map((row) => {
        const link = document.createElement("a");
        const kind = document.createElement("small");
        link.href = row.address;
        kind.textContent = " " + row.kind;
        link.append(row.title, kind, excerpt(row.text, words[0]));
        return link;
    }));
}

/* Go through what was found */
function goThrough(query, box, event) {
    const stops = [query, ...box.querySelectorAll("a")];
    const place = stops.indexOf(document.activeElement);
    const typing = event.target.matches("input, textarea, select");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
        query.focus();
    } else if (event.key === "Escape" && !box.hidden) {
        box.hidden = true;
        query.focus();
    } else if (/^Arrow(Up|Down)$/.test(event.key) && place >= 0 && !box.hidden) {
        const next = stops[place + (event.key === "ArrowDown" ? 1 : -1)];
        if (next) next.focus();
    } else {
        return;
    }
    event.preventDefault();
}

/* Offer the search */
function offerSearch() {
    const query = document.getElementById("query");
    const box = document.getElementById("found");
    if (!query) return;
    query.addEventListener("focus", () => {
        const script = document.createElement("script");
        script.src = "search.js";
        document.head.append(script);
    }, { once: true });
    query.addEventListener("input", () => {
        const words = query.value.toLowerCase().split(/\s+/).filter((word) => word);
        box.hidden = !rows || !words.length;
        if (!box.hidden) showFound(box, words);
    });
    box.addEventListener("click", (event) => {
        box.hidden = !!event.target.closest("a");
    });
    addEventListener("keydown", (event) => goThrough(query, box, event));
    query.hidden = false;
}
/* Show what a link leads to */
const previewed = "main a[href*='#chunk:']:not([id]), main a.value";

/* Place a preview */
function preview(link) {
    const frame = document.createElement("iframe");
    const place = link.getBoundingClientRect();
    frame.id = frame.name = "preview";
    frame.title = "Preview of " + link.textContent;
    frame.tabIndex = -1;
    frame.src = link.href;
    document.body.append(frame);
    const room = root.clientWidth - frame.offsetWidth - 16;
    frame.style.left = Math.max(16, Math.min(place.left, room)) + "px";
    frame.style.top = place.bottom + scrollY + 4 + "px";
    return frame;
}

function offerPreviews() {
    let wait = 0, shown = null;
    const hide = () => {
        clearTimeout(wait);
        if (shown) shown.remove();
        shown = null;
    };
    const soon = (link, pause) => {
        clearTimeout(wait);
        wait = setTimeout(() => { hide(); shown = preview(link); }, pause);
    };
    /* Follow the pointer and the focus */
    const link = (event) => event.target.closest && event.target.closest(previewed);
    addEventListener("mouseover", (event) => {
        if (link(event)) soon(link(event), 300);
        else if (event.target === shown) clearTimeout(wait);
        else if (shown) {
            clearTimeout(wait);
            wait = setTimeout(hide, 300);
        } else clearTimeout(wait);
    });
    addEventListener("focusin", (event) => {
        if (link(event) && event.target.matches(":focus-visible")) soon(link(event), 300);
        else hide();
    });
    addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
    addEventListener("click", hide);
    addEventListener("message", (event) => {
        if (shown && event.source === shown.contentWindow)
            shown.style.height =
                Math.min(event.data.height + 4, innerHeight / 2) + "px";
    });
}
/* Show one piece alone */
function alone() {
    const piece = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!piece) return;
    root.classList.add("alone");
    const table = piece.closest("table");
    if (table) table.tBodies[0].replaceChildren(piece);
    document.body.replaceChildren(table || piece);
    parent.postMessage({ height: document.body.scrollHeight }, "*");
}
addEventListener("DOMContentLoaded", () => {
    if (window.name === "preview") {
        alone();
        return;
    }
    switchTheme();
    offerCopies();
    letScroll();
    offerSearch();
    offerPreviews();
});
