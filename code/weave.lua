-- Tangled from chapters/12-weaver.md; edit there.
-- Ask for a pandoc that is new enough
local major, minor = tostring(PANDOC_VERSION):match("^(%d+)%.(%d+)")
if major * 1000 + minor < 2017 then
  io.stderr:write("weave: pandoc 2.17 or newer is needed (Debian 12 and Ubuntu 24.04 have it); this is ",
                  tostring(PANDOC_VERSION), "\n")
  os.exit(1)
end

-- Read a file and remember its letters
local letters = {}

-- read: the text of a file, or nil if it cannot be read
local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("a")
  file:close()
  for letter in text:gmatch("[\xC2-\xF4][\x80-\xBF]+") do letters[letter] = true end
  return text
end

-- Note problems and tell them all at once
local lines, problems, noted = {}, {}, {}

-- read_lines: remembers the lines of a chapter
local function read_lines(path)
  local number = 0
  for line in ((read(path) or "") .. "\n"):gmatch("(.-)\n") do
    number = number + 1
    table.insert(lines, {text = line, place = path .. ":" .. number})
  end
end

-- problem: notes what is wrong at each line that contains the text
local function problem(text, message)
  if noted[text .. message] then return end
  noted[text .. message] = true
  local found = false
  for order, line in ipairs(lines) do
    if line.text:find(text, 1, true) then
      table.insert(problems, {order = order, text = line.place .. ": error: " .. message})
      found = true
    end
  end
  if not found then table.insert(problems, {order = 0, text = "weave: error: " .. message}) end
end

-- Tell the problems and give up
local function tell_problems()
  if #problems == 0 then return end
  table.sort(problems, function(a, b)
    return a.order < b.order or a.order == b.order and a.text < b.text
  end)
  for _, one in ipairs(problems) do io.stderr:write(one.text, "\n") end
  os.exit(1)
end

-- Suggest the name that was meant
local function distance(a, b)
  local row = {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local corner = row[0]
    row[0] = i
    for j = 1, #b do
      local changed = corner + (a:byte(i) == b:byte(j) and 0 or 1)
      corner = row[j]
      row[j] = math.min(changed, row[j] + 1, row[j - 1] + 1)
    end
  end
  return row[#b]
end

-- suggestion: '; did you mean "NAME"?' with the nearest of the known names, or nothing if none is near
local function suggestion(name, known)
  local best, least = nil, math.max(2, #name // 3) + 1
  for other in pairs(known) do
    local d = distance(name, other)
    if d < least or d == least and best and other < best then best, least = other, d end
  end
  return best and '; did you mean "' .. best .. '"?' or ""
end

-- Read values from JSON
-- read_json: the value in a JSON file: tables, and text for strings and numbers
local function read_json(path)
  local text, at, value = read(path), 1, nil
  if not text then return nil end

  local function wrong()
    local _, newlines = text:sub(1, at):gsub("\n", "")
    io.stderr:write(path, ":", newlines + 1, ": error: this is not JSON\n")
    os.exit(1)
  end
  local function take(pattern)
    local from, to, captured = text:find("^%s*" .. pattern, at)
    if from then at = to + 1 end
    return captured or from
  end

  -- Read a JSON string
  local escapes = {b = "\b", f = "\f", n = "\n", r = "\r", t = "\t"}

  local function quoted()
    local from = at
    repeat
      at = text:find('"', at, true) or wrong()
      at = at + 1
    until #text:sub(from, at - 2):match("\\*$") % 2 == 0
    return (text:sub(from, at - 2):gsub("\\(u?)(.)(%x?%x?%x?)", function(u, c, rest)
      if u == "u" then return utf8.char(tonumber(c .. rest, 16)) end
      return (escapes[c] or c) .. rest
    end))
  end

  -- Read a JSON value
  function value()
    if take('"') then return quoted() end
    local result, close = {}, take("{") and "}" or take("%[") and "%]"
    if not close then return take("([%w+.-]+)") or wrong() end
    while not take(close) do
      local key = #result + 1
      if close == "}" then
        key = take('"') and quoted() or wrong()
        if not take(":") then wrong() end
      end
      result[key] = value()
      if not take(",") and not text:find("^%s*" .. close, at) then wrong() end
    end
    return result
  end
  return value()
end

-- Know every value by its key
local values, origins = {}, {}
local reference = "{{(%a[%w_.:+-]*)}}"

local function add_values(path, key, tree)
  if type(tree) == "table" then
    for name, branch in pairs(tree) do
      add_values(path, key and key .. "." .. name or tostring(name), branch)
    end
  elseif key then
    values[key], origins[key] = tree, path
  end
end

-- Choose the paragraphs that apply
local choose = {
  traverse = "topdown",
  Div = function(div)
    if div.classes[1] ~= "when" then return nil end
    for key, words in pairs(div.attributes) do
      local met = false
      for word in words:gmatch("%S+") do met = met or word == values[key] end
      if not met then return {} end
    end
    return div.content
  end,
}

-- Collect the labels and the chunks
local labels, names = {}, {tbl = {}, fig = {}, sec = {}}
local pieces, chunks, parts = {}, {}, {}
local count = {tbl = 0, fig = 0, sections = {0, 0, 0, 0, 0, 0}}

local function add_label(id, number, title)
  local kind, name = id:match("^(%l%l%l):(.+)$")
  if not names[kind] then return end
  if labels[id] then problem("#" .. id, 'label "' .. id .. '" is given twice') end
  labels[id] = {number = number, title = title, part = #parts}
  names[kind][name] = true
end

-- Take the label off a table's caption
-- split_caption: the label of a table, if it has one, and its caption without it
local function split_caption(tbl)
  local caption = pandoc.utils.to_simple_table(tbl).caption:clone()
  if tbl.identifier ~= "" then return tbl.identifier, caption end
  local last = caption[#caption]
  local id = last and last.t == "Str" and last.text:match("^{#(%S+)}$")
  if id then
    caption:remove()
    caption:remove()
  end
  return id, caption
end

-- List the files behind a table
-- files_behind: the files whose values a block uses, in the order of their names
local function files_behind(block)
  local files = {}
  local function look(element)
    for key in element.text:gmatch(reference) do
      if origins[key] then files[origins[key]] = true end
    end
  end
  pandoc.Div{block}:walk{Str = look, Code = look, Math = look}
  local list = pandoc.List()
  for file in pairs(files) do list:insert(file) end
  list:sort()
  return list
end

-- Note a chunk
local function note_chunk(block)
  local name, text = block.text:match("^<<(.-)>>%+?=[ \t]*\n?(.*)$")
  if not name or not block.classes[1] then return end
  local piece = {name = name, language = block.classes[1], text = text, links = {}}
  table.insert(pieces, piece)
  piece.label = "chunk:" .. #pieces
  chunks[name] = chunks[name] or {}
  table.insert(chunks[name], piece)
end

local collect = {
  traverse = "topdown",
  -- Number headings
  Header = function(heading)
    if heading.classes:includes("unnumbered") then return end
    local numbers = count.sections
    numbers[heading.level] = numbers[heading.level] + 1
    for level = heading.level + 1, 6 do numbers[level] = 0 end
    local number = table.concat(numbers, ".", 1, heading.level)
    add_label(heading.identifier, number, pandoc.utils.stringify(heading.content))
  end,
  -- Number tables, figures and parts
  Table = function(tbl)
    local id, caption = split_caption(tbl)
    if not id then return end
    count.tbl = count.tbl + 1
    add_label(id, count.tbl, pandoc.utils.stringify(caption))
    labels[id].files = files_behind(tbl)
  end,
  Div = function(div)
    local kind = ({table = "tbl", figure = "fig"})[div.classes[1]]
    if kind then
      count[kind] = count[kind] + 1
      add_label(div.identifier, count[kind], pandoc.utils.stringify(div.content))
    elseif div.classes[1] == "part" then
      table.insert(parts, pandoc.utils.stringify(div.content))
    end
  end,
  CodeBlock = function(block)
    note_chunk(block)
  end,
}

-- Connect the chunks and the identifiers
local users, identifiers = {}, {}

-- places_of: the pieces of a list of places, each once; places in chapters that are not woven are left out
local function places_of(list)
  local out = {}
  for _, place in ipairs(list) do
    local piece = (chunks[place.chunk] or {})[tonumber(place.piece)]
    if piece and piece ~= out[#out] then table.insert(out, piece) end
  end
  return out
end

local function connect(xref)
  for _, chunk in ipairs(xref.chunks) do users[chunk.name] = places_of(chunk.uses) end
  for _, one in ipairs(xref.identifiers) do
    one.places, one.users = places_of(one.definitions), places_of(one.uses)
    if one.places[1] then table.insert(identifiers, one) end
    for _, piece in ipairs(one.users) do piece.links[one.name] = one.places[1] end
  end
end

-- Find what a reference stands for
-- find: the kind of a reference ("value", "tbl", "fig", "sec"), and its value or label; nil if the
-- braces are to stand as they are
local function find(key, strict)
  if key:match("^%a*:?%u[%u%d_]+$") then return nil end
  local kind, name = key:match("^(%a%l%l):(.+)$")
  kind = kind and kind:lower()
  if names[kind] then
    if names[kind][name] then return kind, kind .. ":" .. name end
    local what = ({tbl = "table", fig = "figure", sec = "section"})[kind]
    problem("{{" .. key .. "}}", what .. ' "' .. name .. '" is not known' .. suggestion(name, names[kind]))
  elseif values[key] then
    return "value", values[key]
  elseif strict or key:find("[.:]") then
    problem("{{" .. key .. "}}", 'value "' .. key .. '" is not known' .. suggestion(key, values))
  end
end

local summary, pen = false, nil
local results, figures, command

-- mention: the words that stand for a label
local function mention(kind, id, capital)
  local label, word = labels[id], ({tbl = "table", fig = "figure"})[kind]
  if word and capital then word = word:gsub("^%l", string.upper) end
  if summary and label.part > 1 then
    local title = "“" .. label.title:match("^[^.]*") .. "” of the full report"
    return pandoc.Str(word and word .. " " .. title or title)
  end
  return pen.mention(id, label.number, word)
end

-- Put values and numbers in place of references
local function splice(text, write)
  return (text:gsub(reference, function(key)
    local kind, value = find(key, false)
    return kind == "value" and write(value) or nil
  end))
end

local function splice_code(element)
  element.text = splice(element.text, function(value) return value end)
  return element
end

local replace = {
  Code = splice_code,
  CodeBlock = splice_code,
  Math = function(math)
    math.text = splice(math.text, function(value)
      return (value:gsub("%%", "\\%%"):gsub("(%d),(%d)", "%1{,}%2"))
    end)
    return math
  end,
  Str = function(str)
    -- Replace the references in a word
    local text, at, out = str.text, 1, pandoc.List()
    for from, key, to in text:gmatch("()" .. reference .. "()") do
      local kind, found = find(key, true)
      if kind then
        if from > at then out:insert(pandoc.Str(text:sub(at, from - 1))) end
        out:insert(kind == "value" and pandoc.Str(found) or mention(kind, found, key:match("^%u")))
        at = to
      end
    end
    if at == 1 then return nil end
    if at <= #text then out:insert(pandoc.Str(text:sub(at))) end
    return out
  end,
}

-- Tell keywords, strings and comments apart
local c_words = [[auto break case char const continue default do double else enum extern float for goto if
  inline int long register restrict return short signed sizeof static struct switch typedef union unsigned
  void volatile while bool true false NULL]]
local languages = {
  c = {comments = {"^/%*.-%*/", "^//[^\n]*"}, words = c_words},
  cuda = {comments = {"^/%*.-%*/", "^//[^\n]*"}, words = c_words .. [[ __global__ __device__ __host__
    __shared__ __restrict__ __forceinline__ template typename constexpr using]]},
  lua = {comments = {"^%-%-[^\n]*"}, words = [[and break do else elseif end false for function goto if in
    local nil not or repeat return then true until while]]},
  gnuplot = {comments = {"^#[^\n]*"}, words = [[set unset load plot replot do for if else with using title
    every index smooth notitle print]]},
  tex = {comments = {"^%%[^\n]*"}, words = "", plain = true},
}
local other = {comments = {"^#[^\n]*"}, words = {}, plain = true}

local function set_of(words)
  local set = {}
  for word in words:gmatch("%S+") do set[word] = true end
  return set
end
for _, language in pairs(languages) do language.words = set_of(language.words) end
languages.latex = languages.tex

-- Find the end of a string
-- string_end: where the string that begins at a quote ends, or nil if its line ends first
local function string_end(text, at)
  local quote = text:sub(at, at)
  while true do
    at = text:find("[\\\n" .. quote .. "]", at + 1)
    if not at or text:sub(at, at) == "\n" then return nil end
    if text:sub(at, at) == quote then return at end
    at = at + 1
  end
end

-- Emphasise a run of code
local function emphasise(text, name, links)
  local language = languages[name] or other
  local out, at = {}, 1
  local function put(kind, last)
    local line = function(piece) return kind and pen.mark(kind, piece) or pen.text(piece) end
    table.insert(out, (text:sub(at, last):gsub("[^\n]+", line)))
    at = last + 1
  end
  while at <= #text do
    -- Put the token that begins here
    local last
    for _, comment in ipairs(language.comments) do
      last = last or select(2, text:find(comment, at))
    end
    if last then
      put("comment", last)
    elseif not language.plain and text:find("^[\"']", at) then
      last = string_end(text, at)
      put(last and "quoted", last or at)
    elseif text:find("^[%a_]", at) then
      last = select(2, text:find("^[%w_]+", at))
      local word = text:sub(at, last)
      if links[word] then
        table.insert(out, pen.link(links[word], word))
        links[word], at = nil, last + 1
      else
        put(language.words[word] and "keyword", last)
      end
    else
      put(nil, select(2, text:find("^[^%w_\"'/#%%-]+", at)) or at)
    end
  end
  return table.concat(out)
end

-- The pen for LaTeX
local latex = {}

local specials = {
  ["\\"] = "\\textbackslash{}", ["{"] = "\\{", ["}"] = "\\}", ["$"] = "\\$", ["&"] = "\\&", ["#"] = "\\#",
  ["_"] = "\\_", ["%"] = "\\%", ["~"] = "\\textasciitilde{}", ["^"] = "\\textasciicircum{}",
  ["'"] = "\\textquotesingle{}", ["`"] = "\\textasciigrave{}",
}

function latex.raw(text) return pandoc.RawInline("latex", text) end

function latex.text(text) return (text:gsub("[\\{}$&#_%%~^'`]", specials)) end

function latex.mark(kind, text) return "\\" .. kind .. "{" .. latex.text(text) .. "}" end

function latex.mention(id, number, word)
  if not word then return latex.raw("\\ref{" .. id .. "}") end
  return latex.raw("\\hyperref[" .. id .. "]{" .. word .. "~\\ref*{" .. id .. "}}")
end

-- Write code in a line of LaTeX
function latex.code(text)
  text = latex.text(text)
  if #text > 12 then text = text:gsub("[/.=,]%f[%w]", "%0\\allowbreak{}"):gsub("\\_%f[%w]", "%0\\allowbreak{}") end
  return latex.raw("\\texttt{" .. text .. "}")
end

-- name: a chunk's name, upright if it is a file
function latex.name(name)
  return name:match("^%w+/") and "\\texttt{" .. latex.text(name) .. "}" or latex.text(name)
end

-- Write chunks in LaTeX
local function list_labels(list)
  local out = {}
  for _, piece in ipairs(list) do out[#out + 1] = piece.label end
  return table.concat(out, ",")
end

function latex.pages(list) return "\\pages{" .. list_labels(list) .. "}" end

function latex.from(piece) return "continued from page~" .. latex.pages {piece} end

function latex.on(piece) return "continued on page~" .. latex.pages {piece} end

function latex.used(list) return "used on page~" .. latex.pages(list) end

function latex.link(piece, text) return "\\hyperref[" .. piece.label .. "]{\\plain{" .. latex.text(text) .. "}}" end

function latex.reference(piece, name)
  return "\\chunkreference{" .. piece.label .. "}{" .. latex.name(name) .. "}"
end

function latex.block(body, piece, notes)
  body = "\\begin{code}\n" .. body .. "\n\\end{code}"
  if piece then
    body = "\\begin{chunk}{" .. piece.label .. "}{" .. latex.name(piece.name) .. "}{" ..
      table.concat(notes, "; ") .. "}\n" .. body .. "\n\\end{chunk}"
  end
  return pandoc.RawBlock("latex", body)
end

function latex.identifier(name) return "\\texttt{" .. latex.text(name) .. "}" end

function latex.entry(one, file)
  return "\\entry{" .. one.places[1].label .. "}{" .. one.title .. (file and " in \\texttt{" .. latex.text(file) .. "}" or "") ..
    "}{" .. list_labels(one.places) .. "}{" .. list_labels(one.users) .. "}"
end

function latex.index(entries)
  return pandoc.RawBlock("latex", "\\begin{entries}\n" .. table.concat(entries, "\n") .. "\n\\end{entries}")
end

-- Write floats in LaTeX
function latex.source(files)
  local out = {}
  for _, file in ipairs(files) do table.insert(out, "\\texttt{" .. latex.text(file) .. "}") end
  return "\\source{\\texttt{" .. latex.text(command) .. "}: " .. table.concat(out, ", ") .. "}"
end

local function float(kind, id, caption, before, body, after)
  local out = pandoc.List {latex.raw("\\begin{" .. kind .. "}[htbp]\\centering\n" .. before .. "\\caption{")}
  out:extend(caption)
  out:insert(latex.raw("}\\label{" .. id .. "}\n"))
  out:extend(body)
  out:insert(latex.raw(after .. "\\end{" .. kind .. "}"))
  return pandoc.Plain(out)
end

function latex.figure(path, caption, id, files)
  local image = "\\includegraphics{" .. path .. "}\n"
  return float("figure", id, caption, image, {}, latex.source(files) .. "\n")
end

-- Write a table in LaTeX
local letters_of = {AlignLeft = "l", AlignRight = "r", AlignCenter = "c", AlignDefault = "l"}

local function row_of(cells)
  local out = pandoc.List()
  for column, blocks in ipairs(cells) do
    if column > 1 then out:insert(latex.raw(" & ")) end
    out:extend(pandoc.utils.blocks_to_inlines(blocks))
  end
  out:insert(latex.raw(" \\\\\n"))
  return out
end

function latex.table(simple, id, files)
  local columns, body = {}, pandoc.List()
  for column, align in ipairs(simple.aligns) do
    local width = simple.widths[column]
    columns[column] = width == 0 and letters_of[align] or
      string.format("P{%.3f\\linewidth-2\\tabcolsep}", width)
  end
  body:insert(latex.raw("\\begin{fitted}\\begin{tabular}{@{}" .. table.concat(columns) .. "@{}}\n\\toprule\n"))
  body:extend(row_of(simple.header))
  body:insert(latex.raw("\\midrule\n"))
  for _, row in ipairs(simple.rows) do body:extend(row_of(row)) end
  body:insert(latex.raw("\\bottomrule\n\\end{tabular}\\end{fitted}\n"))
  return float("table", id, simple.caption, "", body, files and latex.source(files) .. "\n" or "")
end

-- The pen for HTML
local html = {}

local entities = {["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;"}

function html.text(text) return (text:gsub('[&<>"]', entities)) end

function html.mark(kind, text) return '<span class="' .. kind .. '">' .. html.text(text) .. "</span>" end

function html.mention(id, number, word)
  return pandoc.Link(word and word .. " " .. number or tostring(number), "#" .. id)
end

function html.code() return nil end

html.name = html.text

-- Write chunks in HTML
local function anchor(piece, text) return '<a href="#' .. piece.label .. '">' .. text .. "</a>" end

function html.pages(list)
  local out = {}
  for _, piece in ipairs(list) do out[#out + 1] = anchor(piece, html.text(piece.name)) end
  return table.concat(out, ", ")
end

function html.from(piece) return "continued from " .. anchor(piece, "above") end

function html.on(piece) return "continued " .. anchor(piece, "below") end

function html.used(list) return "used in " .. html.pages(list) end

function html.link(piece, text) return anchor(piece, html.text(text)) end

function html.reference(piece, name) return anchor(piece, "⟨" .. html.text(name) .. "⟩") end

function html.block(body, piece, notes)
  body = "<pre><code>" .. body .. "</code></pre>"
  if piece then
    body = '<div class="chunk" id="' .. piece.label .. '"><p class="name">' .. html.text(piece.name) ..
      "<span>" .. table.concat(notes, "; ") .. "</span></p>" .. body .. "</div>"
  end
  return pandoc.RawBlock("html", body)
end

function html.identifier(name) return "<code>" .. html.text(name) .. "</code>" end

function html.entry(one, file)
  return "<li>" .. anchor(one.places[1], one.title) .. (file and " in " .. html.text(file) or "") ..
    (#one.users > 0 and ", used in " .. html.pages(one.users) or "") .. "</li>"
end

function html.index(entries)
  return pandoc.RawBlock("html", '<ul class="index">' .. table.concat(entries, "\n") .. "</ul>")
end

-- Write floats in HTML
local function numbered(word, id, caption)
  local out = pandoc.List {pandoc.Strong {pandoc.Str(word .. " " .. labels[id].number .. ".")}, pandoc.Space()}
  out:extend(caption)
  return out
end

local function source(files)
  local text = pandoc.List {pandoc.Code(command), pandoc.Str(": ")}
  text:insert(pandoc.Code(table.concat(files, ", ")))
  return pandoc.Div({pandoc.Plain(text)}, {class = "source"})
end

function html.table(simple, id, files)
  simple.caption = numbered("Table", id, simple.caption)
  local content = pandoc.List {pandoc.utils.from_simple_table(simple)}
  if files then content:insert(source(files)) end
  return pandoc.Div(content, {id = id, class = "float"})
end

function html.figure(path, caption, id, files)
  local image = pandoc.Plain {pandoc.Image({}, path .. ".svg")}
  local text = pandoc.Para(numbered("Figure", id, caption))
  return pandoc.Div({image, text, source(files)}, {id = id, class = "float"})
end

-- Set a block of code
local function set_lines(text, language, piece)
  local out, run = {}, {}
  local function flush()
    if #run > 0 then
      table.insert(out, emphasise(table.concat(run, "\n"), language, piece and piece.links or {}))
    end
    run = {}
  end
  for line in (text .. "\n"):gmatch("(.-)\n") do
    local indent, name = line:match("^(%s*)<<([^<].-)>>%s*$")
    if piece and chunks[name] then
      flush()
      table.insert(out, indent .. pen.reference(chunks[name][1], name))
    else
      table.insert(run, line)
    end
  end
  flush()
  return table.concat(out, "\n")
end

-- Say where a chunk continues and where it is used
local next_piece = 1

local function set_code(block)
  local piece = pieces[next_piece]
  if not piece or block.text:match("^<<(.-)>>") ~= piece.name or not block.classes[1] then
    return pen.block(set_lines(block.text, block.classes[1]))
  end
  next_piece = next_piece + 1
  local all, notes, place = chunks[piece.name], {}, nil
  for i, one in ipairs(all) do if one == piece then place = i end end
  if place > 1 then table.insert(notes, pen.from(all[place - 1])) end
  if place < #all then table.insert(notes, pen.on(all[place + 1])) end
  local uses = users[piece.name] or {}
  if place == 1 and #uses > 0 then table.insert(notes, pen.used(uses)) end
  return pen.block(set_lines(piece.text, piece.language, piece), piece, notes)
end

-- Set tables and figures
-- needed: the text of a file that the run should have left
local function needed(path, id)
  local text = read(path)
  if not text then
    problem("#" .. id, "the file behind it, " .. path .. ', is not there; "' .. command .. '" writes it')
  end
  return text or ""
end

-- Read a table of tab-separated text
local function cell(text) return {pandoc.Plain {pandoc.Str(text)}} end

local no_number = {[""] = true, ["–"] = true, ["—"] = true, ["not defined"] = true}

local function read_table(text, caption)
  local rows, numeric = pandoc.List(), {}
  text = splice(text, function(value) return value end)
  for line in text:gmatch("[^\n]+") do
    local row = pandoc.List()
    for field in (line .. "\t"):gmatch("(.-)\t") do
      row:insert(cell(field))
      if #rows > 0 then
        local number = no_number[field] or field:match("^+?%d") or field:match("^−%d")
        numeric[#row] = numeric[#row] ~= false and number ~= nil
      end
    end
    rows:insert(row)
  end
  local header, aligns, widths = rows:remove(1) or pandoc.List(), {}, {}
  for column = 1, #header do
    aligns[column] = numeric[column] and "AlignRight" or "AlignLeft"
    widths[column] = 0
  end
  return pandoc.SimpleTable(caption, aligns, widths, header, rows)
end

-- Set a table drawn by hand
local function fits_a_line(simple)
  local longest, line = {}, 0
  local function measure(row)
    for column, blocks in ipairs(row) do
      local length = utf8.len(pandoc.utils.stringify(blocks)) or 0
      longest[column] = math.max(longest[column] or 0, length + 2)
    end
  end
  measure(simple.header)
  for _, row in ipairs(simple.rows) do measure(row) end
  for _, length in pairs(longest) do line = line + length end
  return line <= 140
end

local function set_table(tbl)
  local id, caption = split_caption(tbl)
  if not id then return nil end
  local simple = pandoc.utils.to_simple_table(tbl)
  simple.caption = caption
  if fits_a_line(simple) then
    for column in ipairs(simple.widths) do simple.widths[column] = 0 end
  end
  local files = labels[id].files
  return pen.table(simple, id, #files > 0 and files)
end

-- Set a table that a run left
local function set_result_table(div)
  local path = results .. "/tables/" .. div.attributes.file
  local caption = pandoc.utils.blocks_to_inlines(div.content)
  local simple = read_table(needed(path, div.identifier), caption)
  return pen.table(simple, div.identifier, {path})
end

-- Set a figure
local function set_figure(div)
  local name = div.attributes.script:match("([^/]+)%.gp$")
  local data = results .. "/" .. div.attributes.data
  needed(data, div.identifier)
  local caption = pandoc.utils.blocks_to_inlines(div.content)
  return pen.figure(figures .. "/" .. name, caption, div.identifier, {div.attributes.script, data})
end

-- Set parts and indexes
local part = 0

local function set_part(div)
  part = part + 1
  return pen.part(part, pandoc.utils.stringify(div.content))
end

function latex.part(number, title)
  return pandoc.RawBlock("latex", (number == 2 and "\\contents\n" or "") ..
    "\\bookpart{part:" .. number .. "}{" .. latex.text(title) .. "}")
end

function html.part(number, title)
  local roman = ("I"):rep(number)
  return pandoc.RawBlock("html", '<p class="part" id="part:' .. number .. '">Part ' .. roman .. "<br>" ..
    html.text(title) .. "</p>")
end

-- Set the indexes
local function index_of(list)
  table.sort(list, function(a, b)
    local x, y = a.name:lower(), b.name:lower()
    return x < y or x == y and (a.name < b.name or a.name == b.name and (a.file or "") < (b.file or ""))
  end)
  local out = {}
  for i, one in ipairs(list) do
    local twin = list[i - 1] and list[i - 1].name == one.name or list[i + 1] and list[i + 1].name == one.name
    table.insert(out, pen.entry(one, twin and one.file))
  end
  return pen.index(out)
end

local function index_of_chunks()
  local list = {}
  for name, places in pairs(chunks) do
    table.insert(list, {name = name, title = pen.name(name), places = places, users = users[name] or {}})
  end
  return index_of(list)
end

-- Set the index of identifiers
local function index_of_identifiers()
  for _, one in ipairs(identifiers) do
    one.title = pen.identifier(one.name)
    if one.kind ~= "function" then one.title = one.title .. " (" .. one.kind .. ")" end
  end
  return index_of(identifiers)
end

-- Find a way to set every character
local symbols = {
  ["−"] = "-", ["×"] = "\\times", ["÷"] = "\\div", ["±"] = "\\pm", ["·"] = "\\cdot", ["≤"] = "\\le", ["≥"] = "\\ge",
  ["≠"] = "\\ne", ["≈"] = "\\approx", ["∈"] = "\\in", ["∞"] = "\\infty", ["√"] = "\\surd", ["∑"] = "\\sum",
  ["→"] = "\\rightarrow", ["←"] = "\\leftarrow", ["↔"] = "\\leftrightarrow", ["⇒"] = "\\Rightarrow",
  ["⟨"] = "\\langle", ["⟩"] = "\\rangle", ["²"] = "^2", ["³"] = "^3", ["½"] = "\\tfrac12", ["∥"] = "\\parallel",
  ["α"] = "\\alpha", ["β"] = "\\beta", ["γ"] = "\\gamma", ["δ"] = "\\delta", ["ε"] = "\\varepsilon",
  ["λ"] = "\\lambda", ["μ"] = "\\mu", ["σ"] = "\\sigma", ["τ"] = "\\tau", ["θ"] = "\\theta",
}

-- has_latin: whether inputenc and the T1 fonts set a character without help
local function has_latin(code)
  return code < 0x180 or code >= 0x2010 and code <= 0x2026 or code == 0x20AC or code == 0x2122
end

-- declarations: LaTeX that teaches it each character beyond its fonts that was read
local function declarations()
  local out = pandoc.List()
  for letter in pairs(letters) do
    local known, code = utf8.len(letter), nil
    if known then code = utf8.codepoint(letter) end
    local symbol = symbols[letter]
    if symbol then
      out:insert("\\newunicodechar{" .. letter .. "}{\\ensuremath{" .. symbol .. "}}")
    elseif code and not has_latin(code) then
      out:insert(string.format("\\newunicodechar{%s}{\\codepoint{%04X}}", letter, code))
    end
  end
  out:sort()
  return table.concat(out, "\n")
end

-- Weave the book
local set = {
  traverse = "topdown",
  Header = function() return nil, false end,
  Code = function(code) return pen.code(code.text) end,
  CodeBlock = function(block) return set_code(block) end,
  Table = function(tbl) return set_table(tbl) end,
  Div = function(div)
    local class = div.classes[1]
    if class == "table" then return set_result_table(div) end
    if class == "figure" then return set_figure(div) end
    if class == "part" then return set_part(div) end
    if class == "chunk-index" then return index_of_chunks() end
    if class == "identifier-index" then return index_of_identifiers() end
  end,
}

-- Keep the first part only
local function keep_first_part(doc)
  local kept, seen = pandoc.List(), 0
  for _, block in ipairs(doc.blocks) do
    if block.t == "Div" and block.classes[1] == "part" then
      seen = seen + 1
    elseif seen == 1 then
      kept:insert(block)
    end
  end
  doc.blocks = kept
end

-- Check the citations
local function check_citations(doc)
  local known = {}
  local path = doc.meta.bibliography and pandoc.utils.stringify(doc.meta.bibliography)
  for key in (path and read(path) or ""):gmatch("@%a+%s*{%s*([^,%s]+)") do known[key] = true end
  doc:walk {Cite = function(cite)
    for _, one in ipairs(cite.citations) do
      if not known[one.id] then
        problem("@" .. one.id, 'citation "' .. one.id .. '" is not known' .. suggestion(one.id, known))
      end
    end
  end}
end

-- Write the title
local function write_title(meta)
  for _, name in ipairs {"title", "author", "course"} do
    local text = os.getenv(name:upper())
    if text and text ~= "" then meta[name] = text end
  end
  local line = "Profile {{run.profile}} on {{run.device}}, {{run.date}}"
  meta.run = line:gsub(reference, function(key)
    local _, value = find(key, true)
    return value
  end)
  meta.subtitle, meta.date = meta.course, meta.run
end

local function weave(doc)
  -- Read the settings given on the command line
  local function setting(name) return doc.meta[name] and pandoc.utils.stringify(doc.meta[name]) end

  pen = FORMAT:match("html") and html or latex
  results, figures, command = setting("results"), setting("figures"), setting("command")
  summary = doc.meta.summary ~= nil
  -- Read what the chapters may refer to
  for _, path in ipairs(PANDOC_STATE.input_files) do read_lines(path) end
  for _, path in ipairs(doc.meta.values) do
    add_values(pandoc.utils.stringify(path), nil, read_json(pandoc.utils.stringify(path)))
  end
  doc = doc:walk(choose)
  doc:walk(collect)
  connect(setting("xref") and read_json(setting("xref")) or {chunks = {}, identifiers = {}})
  if summary then keep_first_part(doc) end
  doc = doc:walk(replace)
  check_citations(doc)
  doc = doc:walk(set)
  write_title(doc.meta)
  tell_problems()
  doc.meta.characters = pandoc.MetaInlines {pandoc.RawInline("latex", declarations())}
  return doc
end

return {{Pandoc = weave}}
