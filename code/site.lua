-- Tangled from chapters/68-site.md; edit there.
-- Write text as JSON
local function json(text)
  return '"' .. text:gsub('[%c"\\]', function(letter)
    return ("\\u%04x"):format(letter:byte())
  end) .. '"'
end

-- Write blocks as HTML
local function write(blocks)
  return (pandoc.write(pandoc.Pandoc(blocks), "html5", PANDOC_WRITER_OPTIONS))
end

local entities = {["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;"}

-- escape: text as it stands in HTML, between tags or in an attribute
local function escape(text) return (text:gsub('[&<>"]', entities)) end

-- Prepare the blocks for a narrow screen
local boxes = {
  traverse = "topdown",
  Table = function(tbl) return pandoc.Div({tbl}, {class = "wide"}), false end,
  Image = function(image) return pandoc.Span({image}, {class = "wide"}), false end,
  Math = function(math)
    if math.mathtype ~= "DisplayMath" then return nil end
    return pandoc.Span({math}, {class = "wide"}), false
  end,
}

function boxes.Header(heading)
  local number = heading.attributes.number
  heading.attributes.number = nil
  if number and heading.level <= 2 then
    heading.content:insert(1, pandoc.Space())
    heading.content:insert(1, pandoc.Span({pandoc.Str(number)}, {class = "number"}))
  end
  return heading
end

-- Cut the document into pages
local function cut(blocks)
  local pages, opening, part = {}, pandoc.List(), nil
  local page = {blocks = opening}
  for _, block in ipairs(blocks) do
    if block.t == "Div" and block.classes[1] == "part" then
      part = block
    elseif block.t == "Header" and block.level == 1 then
      -- Begin a page
      page = {part = part and write(part.content), blocks = pandoc.List {part},
        number = block.attributes.number,
        file = block.identifier:gsub("^sec:", "") .. ".html",
        title = pandoc.utils.stringify(block.content)}
      table.insert(pages, page)
      part = nil
      page.blocks:insert(block)
    else
      page.blocks:insert(block)
    end
  end
  return pages, opening
end

-- List the chapters
local function link(address, title, attribute)
  return '<a href="' .. address .. '"' .. (attribute or "") .. ">" .. escape(title) ..
    "</a>"
end

-- List the sections of a page
local function sections(page)
  local out = {}
  for _, block in ipairs(page.blocks) do
    if block.t == "Header" and block.level == 2 then
      local title = pandoc.utils.stringify(block.content)
      table.insert(out, "<li>" .. link("#" .. block.identifier, title) .. "</li>")
    end
  end
  return #out > 0 and "<ul>" .. table.concat(out) .. "</ul>" or ""
end

-- chapters: the list of all pages, in which one is the current page
local function chapters(pages, current)
  local out = {"<ul>"}
  for _, page in ipairs(pages) do
    if page.part then
      table.insert(out, '</ul>\n<p class="part">' .. page.part .. "</p>\n<ul>")
    end
    local here = page == current
    local title = (page.number and page.number .. " " or "") .. page.title
    table.insert(out, "<li>" ..
      link(page.file, title, here and ' aria-current="page"') ..
      (here and sections(page) or "") .. "</li>")
  end
  table.insert(out, "</ul>")
  return table.concat(out, "\n")
end

-- Make the first page
local function first_page(meta, opening)
  local head = {'<header class="titles">'}
  local tags = {{"h1", "title"}, {"p", "author"}, {"p", "subtitle"}, {"p", "date"}}
  for _, one in ipairs(tags) do
    local text = pandoc.utils.stringify(meta[one[2]] or "")
    if text ~= "" then
      local tag = '<%s class="%s">%s</%s>'
      table.insert(head, tag:format(one[1], one[2], escape(text), one[1]))
    end
  end
  table.insert(head, "</header>")
  opening:insert(1, pandoc.RawBlock("html", table.concat(head, "\n")))
  local title = pandoc.utils.stringify(meta.title)
  return {file = "index.html", title = title, blocks = opening}
end

-- Make a page of the values
-- Find the pages that tell a value
-- tellers_of: for each key links to the pages that tell the value, in their order
local function tellers_of(pages)
  local tellers = {}
  for _, page in ipairs(pages) do
    local teller = link(page.file, page.title)
    pandoc.Div(page.blocks):walk {Link = function(one)
      local key = one.target:match("^#value:(.*)")
      if not key then return nil end
      local list = tellers[key] or {}
      if list[#list] ~= teller then table.insert(list, teller) end
      tellers[key] = list
    end}
  end
  return tellers
end

-- Read where each kind of value is from
local function cell_of(cell)
  return (write(cell.contents):gsub("^<p>(.*)</p>$", "%1"))
end

-- origins_of: what the table says, by the beginnings of keys; empty if there is none
local function origins_of(pages, command)
  local origins = {}
  local function read_rows(tbl)
    for _, row in ipairs(tbl.bodies[1].body) do
      local keys, formula, stages, files = table.unpack(row.cells)
      local origin = {formula = cell_of(formula), files = cell_of(files),
        stages = cell_of(stages) .. ", by <code>" .. escape(command) .. "</code>"}
      pandoc.Div(keys.contents):walk {Code = function(code)
        origins[code.text] = origin
      end}
    end
  end
  -- Find the table of origins
  for _, page in ipairs(pages) do
    pandoc.Div(page.blocks):walk {Div = function(div)
      if div.identifier == "tbl:origins" then div:walk {Table = read_rows} end
    end}
  end
  return origins
end

-- Find where a value is from
local function origin_of(origins, one, folder)
  local best, published = nil, one.file:sub(1, #folder) ~= folder
  for beginning in pairs(origins) do
    local fits = one.key:sub(1, #beginning) == beginning
    if fits and #beginning > #(best or "") then best = beginning end
  end
  if published then return {formula = "published", stages = ""} end
  if next(origins) and not best then
    error("site: " .. one.key .. " is of no kind in the table of origins", 0)
  end
  return origins[best] or {formula = "", stages = ""}
end

-- Write the row of a value
local function row_of(one, origin, tellers)
  local cells = {escape(one.value), "<code>" .. escape(one.key) .. "</code>",
    origin.formula, origin.stages, "<code>" .. escape(one.file) .. "</code>" ..
    (origin.files and ", " .. origin.files or ""), table.concat(tellers, ", ")}
  return '<tr id="value:' .. one.key .. '"><td>' .. table.concat(cells, "</td><td>") ..
    "</td></tr>"
end

local function values_page(meta, pages)
  local command = pandoc.utils.stringify(meta.command)
  local tellers, origins, rows = tellers_of(pages), origins_of(pages, command), {}
  for _, one in ipairs(meta.told or {}) do
    local origin = origin_of(origins, one, pandoc.utils.stringify(meta.results))
    table.insert(rows, row_of(one, origin, tellers[one.key] or {}))
  end
  local head = "<thead><tr><th>value</th><th>key</th><th>formula</th><th>stages</th>" ..
    "<th>files</th><th>told in</th></tr>"
  return {file = "values.html", title = "Values", blocks = pandoc.List {
    -- Say who writes the values
    pandoc.Header(1, "Values", {id = "values"}),
    pandoc.Para {pandoc.Str "What is measured, ",
      pandoc.Code(pandoc.utils.stringify(meta.command)),
      pandoc.Str " writes; what others have published is the chapters' own."},
    pandoc.RawBlock("html", '<div class="wide"><table>\n' .. head ..
      "</thead>\n<tbody>\n" .. table.concat(rows, "\n") .. "\n</tbody></table></div>")}}
end

-- Frame a page
local frame = [[
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>@title</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="site.css">
<script src="site.js"></script>
</head>
<body>
<a class="skip" href="#text">Skip to the text</a>
<header class="bar">
<a href="index.html">@book</a> <a class="to-chapters" href="#chapters">Chapters</a>
<input id="query" type="search" placeholder="Search  /" autocomplete="off" hidden
  aria-label="Search text, chunks and identifiers">
<button id="theme" type="button" hidden>Dark</button>
<div id="found" role="region" aria-label="What was found" hidden></div>
</header>
<main id="text" tabindex="-1">
@text
<nav class="turn" aria-label="Previous and next">@turn</nav>
</main>
<nav id="chapters" aria-label="Chapters">
@chapters
</nav>
</body>
</html>
]]

-- Fill the frame
local function turn(pages, place)
  local before, after = pages[place - 1], pages[place + 1]
  return (before and link(before.file, "← " .. before.title, ' rel="prev"') or "") ..
    (after and link(after.file, after.title .. " →", ' rel="next"') or "")
end

-- fill: the whole of a page; place: its number among the pages
local function fill(pages, place, book)
  local page = pages[place]
  local title = place == 1 and book or page.title .. " – " .. book
  local parts = {title = escape(title), book = escape(book), text = page.html,
    turn = turn(pages, place), chapters = chapters(pages, page)}
  return (frame:gsub("@(%a+)", parts))
end

-- Lead every link to its page
-- lead: makes the links of all pages arrive; the page of each name
local function lead(pages)
  local home = {}
  for _, page in ipairs(pages) do
    page.ids = {}
    for id in page.html:gmatch(' id="([^"]+)"') do
      page.ids[id], home[id] = true, home[id] or page.file
    end
  end
  for _, page in ipairs(pages) do
    page.html = page.html:gsub(' href="#([^"]+)"', function(id)
      if page.ids[id] then return nil end
      if not home[id] then
        error("site: " .. page.file .. " has a link to #" .. id, 0)
      end
      return ' href="' .. home[id] .. "#" .. id .. '"'
    end)
  end
  return home
end

-- Collect what can be searched
-- Collect the sections of a page
local function sections_of(page)
  local section = {title = page.title, id = "", text = {}}
  local out = {section}
  local function add(block)
    table.insert(section.text, pandoc.utils.stringify(block.content))
  end
  for _, block in ipairs(page.blocks) do
    if block.t == "Header" then
      section = {title = pandoc.utils.stringify(block.content), text = {},
        id = block.identifier}
      table.insert(out, section)
    else
      pandoc.Div({block}):walk {Para = add, Plain = add}
    end
  end
  return out
end

-- searched: the list, as the call of a function in site.js; a row is a title, what it
-- is, its address, and text
local function searched(meta, pages, home)
  local rows = {}
  local function add(title, kind, file, id, text)
    local address = file .. (id ~= "" and "#" .. id or "")
    local row = {json(title), json(kind), json(address), json(text)}
    table.insert(rows, "[" .. table.concat(row, ",") .. "]")
  end
  for _, one in ipairs(meta.names or {}) do
    add(one.name, one.kind, home[one.anchor], one.anchor, "")
  end
  for _, page in ipairs(pages) do
    for _, one in ipairs(sections_of(page)) do
      add(one.title, "section", page.file, one.id, table.concat(one.text, " "))
    end
  end
  return "searchable([\n" .. table.concat(rows, ",\n") .. "\n]);\n"
end

-- Write the site
local function save(path, text)
  local file, why = io.open(path, "w")
  local written = file
  if file then written, why = file:write(text) end
  if written then written, why = file:close() end
  if not written then error("site: " .. path .. ": " .. why, 0) end
end

local function site(doc)
  local meta, folder = doc.meta, pandoc.utils.stringify(doc.meta.folder)
  local pages, opening = cut(doc.blocks)
  table.insert(pages, 1, first_page(meta, opening))
  table.insert(pages, values_page(meta, pages))
  -- Write the blocks of all pages
  for _, page in ipairs(pages) do
    page.blocks = pandoc.Div(page.blocks):walk(boxes).content
    page.html = write(page.blocks)
  end
  local home, book = lead(pages), pages[1].title
  save(folder .. "/search.js", searched(meta, pages, home))
  for place = 2, #pages do
    save(folder .. "/" .. pages[place].file, fill(pages, place, book))
  end
  return pandoc.Pandoc {pandoc.RawBlock("html", fill(pages, 1, book))}
end

return {{Pandoc = site}}
