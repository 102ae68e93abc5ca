-- Tangled from chapters/67-weaver.md; edit there.
-- Give up on the weaving
local function give_up(...)
  io.stderr:write(...)
  io.stderr:write("\n")
  os.exit(1)
end

-- Ask for a pandoc that is new enough
local major, minor = tostring(PANDOC_VERSION):match("^(%d+)%.(%d+)")
if major * 1000 + minor < 2017 then
  give_up("weave: pandoc 2.17 or newer is needed, as Debian 12 and Ubuntu 24.04 have ",
    "it; this is ", tostring(PANDOC_VERSION))
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
  local text, number = read(path), 0
  if text:sub(-1) ~= "\n" then
    give_up("weave: ", path, " does not end with a newline")
  end
  for line in text:gmatch("(.-)\n") do
    number = number + 1
    table.insert(lines, {text = line, place = path .. ":" .. number .. ": "})
  end
end

local function note(order, place, message)
  table.insert(problems, {order = order, text = place .. "error: " .. message})
end

-- problem: notes what is wrong at each line that contains the text
local function problem(text, message)
  if noted[text .. message] then return end
  noted[text .. message] = true
  local found = false
  for order, line in ipairs(lines) do
    if line.text:find(text, 1, true) then
      note(order, line.place, message)
      found = true
    end
  end
  if not found then note(0, "weave: ", message) end
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

-- unknown: a message with the nearest of the known names, if one is near
local function unknown(what, name, known)
  local best, least = nil, math.max(2, #name // 3) + 1
  for other in pairs(known) do
    local d = distance(name, other)
    if d < least or d == least and best and other < best then best, least = other, d end
  end
  return what .. ' "' .. name .. '" is not known' ..
    (best and '; did you mean "' .. best .. '"?' or "")
end

-- Read values from JSON
-- read_json: what a JSON file holds, as tables and text; numbers are text too
local function read_json(path)
  local text, at, value = read(path), 1, nil
  if not text then give_up("weave: ", path, " cannot be read") end

  local function wrong()
    local _, newlines = text:sub(1, at):gsub("\n", "")
    give_up(path, ":", newlines + 1, ": error: this is not JSON")
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

-- Let sentences go on with a paragraph
-- marks the first paragraph as one that goes on
local function join(blocks)
  local first = blocks[1]
  if first and first.t == "Para" then
    first.content:insert(1, pandoc.Span({}, {class = "on"}))
  end
  return blocks
end

local going_on = {
  -- Join marked paragraphs to those before them
  Blocks = function(blocks)
    local joined = pandoc.List()
    for _, block in ipairs(blocks) do
      local mark, last = block.t == "Para" and block.content[1], joined[#joined]
      if mark and mark.t == "Span" and mark.classes[1] == "on" then
        block.content:remove(1)
        if last and last.t == "Para" then
          block.content = last.content .. {pandoc.SoftBreak()} .. block.content
          joined:remove()
        end
      end
      joined:insert(block)
    end
    return joined
  end,
}

-- Leave out what a committed run has not
local committed, lacking = nil, {} -- committed: the folder of such a run

-- lacks: whether a block is a table or figure for which the run has no file
local function lacks(div)
  local folder = ({table = "/tables/", figure = "/"})[div.classes[1]]
  local file = div.attributes.file or div.attributes.data
  if not committed or not folder or not file or read(committed .. folder .. file) then
    return false
  end
  lacking[div.identifier] = true
  return true
end

-- Leave mentions out that stand in brackets
local leave_out = {
  Inlines = function(inlines)
    local out = pandoc.List()
    for _, one in ipairs(inlines) do
      local text, before = one.t == "Str" and one.text or "", out[#out]
      local id, rest = text:match("^%({{(%a+:[%w_-]+)}}%)(.*)$")
      if lacking[id] then
        if before and (before.t == "Space" or before.t == "SoftBreak") then
          out:remove()
        end
        one = pandoc.Str(rest)
      end
      out:insert(one)
    end
    return out
  end,
}

-- Choose the paragraphs that apply
-- holds: whether a condition does
local function holds(condition, words)
  local asks = condition == "has" or condition == "lacks"
  local met = words == values[condition]
  for word in words:gmatch("%S+") do
    if asks and (values[word] ~= nil) ~= (condition == "has") then return false end
    met = met or word == values[condition]
  end
  return asks or met
end

local choose = {
  traverse = "topdown",
  Div = function(div)
    if lacks(div) then return {} end
    if div.classes[1] ~= "when" then return nil end
    for condition, words in pairs(div.attributes) do
      if not holds(condition, words) then return {} end
    end
    return div.classes[2] == "on" and join(div.content) or div.content
  end,
}

-- Collect the labels and the chunks
local labels, names = {}, {tbl = {}, fig = {}, sec = {}}
local pieces, chunks, parts = {}, {}, {}
local html, pen = {}, nil
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

-- Refuse a caption without a label
local function refuse_caption(text)
  if text == "" then return end
  problem(": " .. text:match("^%S+ ?%S*"),
    "this caption has no label, as in {#tbl:NAME}")
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

-- Tell a caption from what a figure shows
-- split_alt: the caption of a table or figure, and in words what the figure shows
local function split_alt(div)
  local caption, alt = pandoc.List(), ""
  for _, block in ipairs(div.content) do
    if block.t == "Div" and block.classes[1] == "alt" then
      alt = pandoc.utils.stringify(block)
    else
      caption:insert(block)
    end
  end
  return caption, alt
end

-- Note the file of a table or figure
local function note_file(div)
  local file, label = div.attributes.file, labels[div.identifier]
  local script = (div.attributes.script or ""):match("([^/]+)%.gp$")
  if not label then return end
  label.file = file and "tables/" .. file or script and script .. ".svg"
end

-- Note a chunk
local anchors = {}

local function note_chunk(block)
  local name = (block.text .. "\n"):match("^<<([^<\n][^\n]-)>>%+?=[ \t]*\n")
  if not name or not block.classes[1] then return end
  local piece = {name = name, label = "chunk:" .. #pieces + 1, links = {},
    text = block.text}
  table.insert(pieces, piece)
  chunks[name] = chunks[name] or {}
  table.insert(chunks[name], piece)
  -- Give the piece an anchor
  local place = #chunks[name]
  piece.anchor = "chunk:" .. name:lower():gsub("[^%w\x80-\xFF]+", "-") ..
    (place > 1 and "." .. place or "")
  if (anchors[piece.anchor] or name) ~= name then
    problem("<<" .. name .. ">>", 'chunk "' .. name .. '" has the same anchor as "' ..
      anchors[piece.anchor] .. '"')
  end
  anchors[piece.anchor] = name
end

-- Note where a concept is explained
local concepts, concept_of, section, places_marked = {}, {}, "", 0

local function read_concepts(div)
  if div.classes[1] ~= "concept-index" then return end
  local list = pandoc.utils.stringify(div.content):gsub("%s+", " ")
  for entry in list:gmatch("[^,]+") do
    local name, form = entry:match("^%s*(.-)%s*%((.-)%)%s*$")
    name = name or entry:match("^%s*(.-)%s*$")
    local one = {name = name, places = {}, users = {}}
    table.insert(concepts, one)
    concept_of[(form or name):lower()] = one
  end
end

-- Mark a place of a concept
local function note_concept(words)
  local text = pandoc.utils.stringify(words.content):lower():gsub("[.,:]$", "")
  local one = concept_of[text]
  if not one then return nil end
  places_marked = places_marked + 1
  local place = {label = "concept:" .. places_marked, section = section}
  table.insert(one.places, place)
  place.anchor = "concept:" .. one.name:lower():gsub("[^%w\x80-\xFF]+", "-") ..
    (#one.places > 1 and "." .. #one.places or "")
  return {pen.concept(place), words}, false
end

-- Complain of a concept that is explained nowhere
local function check_concepts()
  local inside = false
  for order, line in ipairs(lines) do
    inside = (inside or line.text:match("^::: *concept%-index")) and line.text ~= ":::"
    for _, one in ipairs(inside and concepts or {}) do
      if #one.places == 0 and line.text:find(one.name, 1, true) then
        note(order, line.place, 'concept "' .. one.name ..
          '" is explained nowhere: no chapter has it in italics or in bold')
      end
    end
  end
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
    if pen == html then heading.attributes.number = number end
    section = number
    return heading
  end,
  -- Number tables, figures and parts
  Table = function(tbl)
    local id, caption = split_caption(tbl)
    if not id then return refuse_caption(pandoc.utils.stringify(caption)) end
    count.tbl = count.tbl + 1
    add_label(id, count.tbl, pandoc.utils.stringify(caption))
    labels[id].files = files_behind(tbl)
  end,
  Div = function(div)
    local kind = ({table = "tbl", figure = "fig"})[div.classes[1]]
    if kind then
      count[kind] = count[kind] + 1
      add_label(div.identifier, count[kind], pandoc.utils.stringify(split_alt(div)))
      note_file(div)
    elseif div.classes[1] == "part" then
      table.insert(parts, pandoc.utils.stringify(div.content))
    end
  end,
  CodeBlock = function(block)
    note_chunk(block)
  end,
  Emph = function(words) return note_concept(words) end,
  Strong = function(words) return note_concept(words) end,
}

-- Learn the titles of other chapters
local preview = false -- whether one chapter is woven alone

-- learn_titles: makes known what other chapters have labels for
local function learn_titles(path)
  local waiting
  for line in ((read(path) or "") .. "\n"):gmatch("(.-)\n") do
    if waiting then waiting.title, waiting = line, nil end
    local before, id = line:match("^([#:].*){#(%l%l%l:[%w_.-]+)")
    id = id or line:match("^:::.*#(%l%l%l:[%w_.-]+)")
    local kind, name = (id or ""):match("^(%l+):(.+)$")
    if names[kind] and not labels[id] then
      labels[id] = {title = (before or ""):match("^[#:]*%s*(.-)%s*$"), elsewhere = true}
      names[kind][name] = true
      if labels[id].title == "" or line:match("^:::") then waiting = labels[id] end
    end
  end
end

-- Compare the chunks with the tangler's
-- Read a piece as the tangler does
-- bare: text without white space at the ends of its lines
local function bare(text)
  return (text:gsub("[ \t\r]*\n[ \t]*", "\n"):gsub("^[ \t]+", ""):gsub("[ \t\r]+$", ""))
end

-- text_of: the lines of the piece at a place, the first of that order
local function text_of(place, order)
  local out = {}
  for i = 0, tonumber(place["end"]) - tonumber(place.line) - 1 do
    table.insert(out, lines[order + i].text)
  end
  return bare(table.concat(out, "\n"))
end

-- compare: notes where pandoc and the tangler see different chunks
local function compare(xref)
  local orders, known = {}, {}
  for order, line in ipairs(lines) do orders[line.place] = order end
  for _, chunk in ipairs(xref.chunks) do
    local seen = {table.unpack(chunks[chunk.name] or {})}
    for _, place in ipairs(chunk.definitions) do
      local order = orders[place.file .. ":" .. place.line .. ": "]
      local piece = order and table.remove(seen, 1)
      -- Complain of a piece that pandoc does not know
      if order and not (piece and bare(piece.text) == text_of(place, order)) then
        note(order, lines[order].place, 'chunk "' .. chunk.name ..
          '" is program to the tangler, but not to pandoc')
        seen = {}
        break
      end
    end
    -- Complain of pieces that the tangler does not know
    if #seen > 0 then
      problem("<<" .. chunk.name .. ">>", 'chunk "' .. chunk.name ..
        '" has more pieces to pandoc than to the tangler')
    end
    known[chunk.name] = true
  end
  -- Complain of chunks that the tangler does not know
  for name in pairs(chunks) do
    if not known[name] then
      problem("<<" .. name .. ">>", 'chunk "' .. name ..
        '" is program to pandoc, but not to the tangler')
    end
  end
end

-- Connect the chunks and the identifiers
local users, identifiers = {}, {}

-- places_of: the pieces of a list of places, each once, without those in chapters that
-- are not woven
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
    for _, piece in ipairs(one.users) do
      if piece ~= one.places[1] then piece.links[one.name] = one.places[1] end
    end
  end
end

-- Find what a reference stands for
-- find: the kind of a reference ("value", "tbl", "fig", "sec"), and its value or label;
-- nil if the braces are to stand as they are
local function find(key, strict)
  if key:match("^%a*:?%u[%u%d_]+$") then return nil end
  local kind, name = key:match("^(%a%l%l):(.+)$")
  kind = kind and kind:lower()
  if names[kind] then
    if names[kind][name] then return kind, kind .. ":" .. name end
    local what = ({tbl = "table", fig = "figure", sec = "section"})[kind]
    problem("{{" .. key .. "}}", unknown(what, name, names[kind]))
  elseif values[key] then
    return "value", values[key]
  elseif not preview and (strict or key:find("[.:]")) then
    problem("{{" .. key .. "}}", unknown("value", key, values))
  end
end

local summary = false
local results, figures, command, home

-- mention: the words that stand for a label
local function mention(kind, id, capital)
  local label, word = labels[id], ({tbl = "table", fig = "figure"})[kind]
  if word and capital then word = word:gsub("^%l", string.upper) end
  local apart = summary and label.part > 1
  local title = "“" .. label.title:match("^[^.]*") .. "”"
  -- Lead out of a report that stands alone
  if apart and home and label.file then
    return pandoc.Link(word .. " " .. title, label.file)
  end
  if apart or label.elsewhere then
    title = title .. (apart and " of the full report" or "")
    return pandoc.Str(word and word .. " " .. title or title)
  end
  return pen.mention(id, preview and kind == "sec" and title or label.number, word)
end

-- label_of: the label of the chapter or section to which a link goes; nil if to neither
local function label_of(target)
  local file, place = target:match("^%d%d%-([%w-]+)%.md(.*)$")
  if not file then return nil end
  local name = place == "" and file or place:match("^#.*%-sec(.+)$") or place
  if names.sec[name] then return "sec:" .. name end
  problem("](" .. target .. ")", unknown("section", name, names.sec))
end

-- Put values and numbers in place of references
-- inlines_of: a value as the words of a sentence
local function inlines_of(value)
  if value:find("[@", 1, true) then
    return pandoc.utils.blocks_to_inlines(pandoc.read(value, "markdown").blocks)
  end
  local inlines, from = {}, 1
  for first, address, past in value:gmatch("()(https?://%S*[%w/])()") do
    table.insert(inlines, pandoc.Str(value:sub(from, first - 1)))
    table.insert(inlines, pandoc.Link({pandoc.Str(address)}, address))
    from = past
  end
  table.insert(inlines, pandoc.Str(value:sub(from)))
  return inlines
end

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
    math.text = pen.math(math.text)
    return math
  end,
  Str = function(str)
    -- Replace the references in a word
    local text, at, out = str.text, 1, pandoc.List()
    for from, key, to in text:gmatch("()" .. reference .. "()") do
      local kind, found = find(key, true)
      if kind then
        if from > at then out:insert(pandoc.Str(text:sub(at, from - 1))) end
        if kind == "value" then
          out:extend(pen.value(key, inlines_of(found)))
        else
          out:insert(mention(kind, found, key:match("^%u")))
        end
        at = to
      end
    end
    if at == 1 then return nil end
    if at <= #text then out:insert(pandoc.Str(text:sub(at))) end
    return out
  end,
  Link = function(link)
    local label = label_of(link.target)
    if not label or not home then return label and mention("sec", label) end
    link.target = home .. link.target
    return link
  end,
  -- Keep a percent sign with its number
  Inlines = function(inlines)
    for i, one in ipairs(inlines) do
      local after = inlines[i + 1]
      if one.t == "Space" and after and after.t == "Str"
        and after.text:match("^%%") then
        inlines[i] = pandoc.Str("\u{A0}")
      end
    end
    return inlines
  end,
}

-- Tell keywords, strings and comments apart
-- List the words of C and CUDA
local c_words = [[auto break case char const continue default do double else enum
  extern float for goto if inline int long register restrict return short signed sizeof
  static struct switch typedef union unsigned void volatile while bool true false NULL]]
local cuda_words = [[ __global__ __device__ __host__ __shared__ __restrict__
  __forceinline__ template typename constexpr using]]
local c_comments = {"^/%*.-%*/", "^//[^\n]*"}

local languages = {
  c = {comments = c_comments, words = c_words},
  cuda = {comments = c_comments, words = c_words .. cuda_words},
  lua = {comments = {"^%-%-[^\n]*"}, words = [[and break do else elseif end false for
    function goto if in local nil not or repeat return then true until while]]},
  gnuplot = {comments = {"^#[^\n]*"}, words = [[set unset load plot do for if else with
    using title every index smooth notitle print array eval stats]]},
  sh = {comments = {"^# [^\n]*"}, words = [[if then elif else fi for in do done while
    case esac return exit set shift trap]]},
  tex = {comments = {"^%%[^\n]*"}, words = "", plain = true},
  json = {comments = {}, words = "true false null"},
  css = {comments = c_comments, words = "", plain = true},
  js = {comments = c_comments, words = [[async await const else false for function if in
    let new null of return true while]]},
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
-- string_end: where the string that begins here ends, or nil if its line ends first
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
    local piece = text:sub(at, last)
    table.insert(out, (piece:gsub("([ \t]*)([^\n]*)", function(indent, line)
      return indent .. (kind and line ~= "" and pen.mark(kind, line) or pen.text(line))
    end)))
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
  ["{"] = "\\{", ["}"] = "\\}", ["$"] = "\\$", ["&"] = "\\&", ["#"] = "\\#",
  ["_"] = "\\_", ["%"] = "\\%", ["\\"] = "\\textbackslash{}",
  ["~"] = "\\textasciitilde{}", ["^"] = "\\textasciicircum{}",
  ["'"] = "\\textquotesingle{}", ["`"] = "\\textasciigrave{}",
}

function latex.raw(text) return pandoc.RawInline("latex", text) end

function latex.text(text) return (text:gsub("[\\{}$&#_%%~^'`]", specials)) end

-- command_of: a LaTeX command with its arguments
local function command_of(name, ...)
  return "\\" .. name .. "{" .. table.concat({...}, "}{") .. "}"
end

function latex.mark(kind, text) return command_of(kind, latex.text(text)) end

function latex.mention(id, number, word)
  if not word then return latex.raw(command_of("ref", id)) end
  local named = word .. "~" .. command_of("ref*", id)
  return latex.raw("\\hyperref[" .. id .. "]{" .. named .. "}")
end

function latex.value(_, inlines) return inlines end

function latex.math(text) return text end

-- Write code in a line of LaTeX
function latex.identifier(name) return command_of("texttt", latex.text(name)) end

function latex.code(text)
  local code = latex.identifier(text)
  if #text > 12 then
    code = code:gsub("[/.=,]%f[%w]", "%0\\allowbreak{}")
    code = code:gsub("\\_%f[%w]", "%0\\allowbreak{}")
  end
  return latex.raw(code)
end

-- name: a chunk's name, as code if it is a file
function latex.name(name)
  return name:match("^%w+/") and latex.identifier(name) or latex.text(name)
end

-- Write chunks in LaTeX
local function list_labels(list)
  local out = {}
  for _, piece in ipairs(list) do out[#out + 1] = piece.label end
  return table.concat(out, ",")
end

function latex.numbers(list) return command_of("chunknumbers", list_labels(list)) end

function latex.from(piece) return "continued from " .. latex.numbers {piece} end

function latex.on(piece) return "continued in " .. latex.numbers {piece} end

function latex.used(list) return "used in " .. latex.numbers(list) end

function latex.link(piece, text)
  return command_of("codelink", piece.label, latex.text(text))
end

function latex.reference(piece, name)
  return command_of("chunkreference", piece.label, latex.name(name))
end

function latex.block(body, long, piece, notes)
  local kind = long and "broken" or "code"
  body = body:gsub("^\n+", "")
  body = "\\begin{" .. kind .. "}\n" .. body .. "\n\\end{" .. kind .. "}"
  if piece then
    notes = table.concat(notes, "; ")
    local name = latex.name(piece.name)
    body = command_of("begin", "chunk", piece.label, name, notes) .. "\n" .. body ..
      "\n\\end{chunk}"
  end
  return pandoc.RawBlock("latex", body)
end

function latex.entry(one, file)
  local title = one.title .. (file and " in " .. latex.identifier(file) or "")
  return command_of("entry", one.places[1].label, title, list_labels(one.places),
    list_labels(one.users))
end

function latex.index(entries)
  table.insert(entries, 1, "\\begin{entries}")
  table.insert(entries, "\\end{entries}")
  return pandoc.RawBlock("latex", table.concat(entries, "\n"))
end

function latex.concept(place)
  return latex.raw("\\leavevmode\\phantomsection" .. command_of("label", place.label))
end

-- Write floats in LaTeX
local by_none = [[{\def\theHtable{none.\arabic{none}}%
\expandafter\let\csname c@table\expandafter\endcsname\csname c@none\endcsname]]

function latex.unnumbered(tbl)
  local before, after = pandoc.RawBlock("latex", by_none), pandoc.RawBlock("latex", "}")
  return {before, tbl, after}, false
end

function latex.source(files)
  local out = {}
  for _, file in ipairs(files) do table.insert(out, latex.identifier(file)) end
  local list = table.concat(out, ", ")
  return command_of("source", latex.identifier(command) .. ": " .. list)
end

-- utf16: text as the hexadecimal digits of UTF-16, big end first
local function utf16(text)
  local out = {}
  for _, code in utf8.codes(text) do
    local rest = code - 0x10000
    table.insert(out, code < 0x10000 and ("%04X"):format(code) or
      ("%04X%04X"):format(0xD800 + (rest >> 10), 0xDC00 + (rest & 0x3FF)))
  end
  return table.concat(out)
end

function latex.figure(path, caption, id, files, alt)
  local begin = "\\begin{figure}[htbp]\\centering\n" ..
    command_of("showpicture", path, utf16(alt)) .. "\n"
  local source = files and latex.source(files) or ""
  local last = command_of("label", id) .. source .. "\n\\end{figure}"
  local out = pandoc.List {latex.raw(begin .. "\\caption[]{")}
  out:extend(caption)
  out:insert(latex.raw("}" .. last))
  return pandoc.Plain(out)
end

-- Write a table in LaTeX
local letter_of = {
  AlignLeft = "l", AlignRight = "r", AlignCenter = "c", AlignDefault = "l"}

local function columns_of(simple)
  local columns = "@{}"
  for column, align in ipairs(simple.aligns) do
    local width = simple.widths[column]
    columns = columns .. (width == 0 and letter_of[align] or
      string.format("P{%.3f\\linewidth-2\\tabcolsep}", width))
  end
  return columns .. "@{}"
end

local function row_of(cells)
  local out = pandoc.List()
  for column, blocks in ipairs(cells) do
    if column > 1 then out:insert(latex.raw(" & ")) end
    out:extend(pandoc.utils.blocks_to_inlines(blocks))
  end
  out:insert(latex.raw(" \\\\\n"))
  return out
end

-- Choose the size of a table
-- how many letters the widest cells of all columns have together
local function letters_of(simple)
  local widest, sum = {}, 0
  for _, row in ipairs({simple.header, table.unpack(simple.rows)}) do
    for column, blocks in ipairs(row) do
      local letters = utf8.len(pandoc.utils.stringify(blocks))
      widest[column] = math.max(widest[column] or 0, letters)
    end
  end
  for column, letters in ipairs(widest) do
    sum = sum + (simple.widths[column] == 0 and letters or 0)
  end
  return sum
end

local function size_of(simple, long)
  local letters = letters_of(simple)
  if long and letters > 100 then return "\\scriptsize" end
  local small = letters > 75 or not long and #simple.rows > 12
  return small and "\\footnotesize" or nil
end

-- Let wide columns break into lines
local function break_wide(simple)
  local widest, room, shared = {}, 113 - 3 * #simple.header, 0
  for _, width in ipairs(simple.widths) do
    if width > 0 then return end
  end
  -- Measure the columns, and those of sentences
  for column, align in ipairs(simple.aligns) do
    local most, words = 0, false
    for _, row in ipairs({simple.header, table.unpack(simple.rows)}) do
      local text = pandoc.utils.stringify(row[column] or {})
      most = math.max(most, utf8.len(text))
      words = words or text:find("%S+ %S+ %S+") ~= nil
    end
    if align == "AlignLeft" and words and most > 20 then
      widest[column], shared = most, shared + most
    else
      room = room - most
    end
  end
  if room >= shared then return end
  for column, letters in pairs(widest) do
    simple.widths[column] = (room / shared * letters + 3) / 110
  end
end

-- Find the groups of columns
-- groups_of: the groups of a table's columns; their heads keep what is behind the colon
local function groups_of(header)
  local groups = {}
  for column, blocks in ipairs(header) do
    local name, rest = pandoc.utils.stringify(blocks):match("^(.-): (.+)$")
    local last = groups[#groups]
    if name and last and last.name == name and last.to == column - 1 then
      last.to = column
    elseif name then
      table.insert(groups, {name = name, from = column, to = column})
    end
    if name then header[column] = {pandoc.Plain(pandoc.Str(rest))} end
  end
  return groups
end

-- Write a head of two rows
local function groups_row(header)
  local groups, cells, rules, column = groups_of(header), {}, "", 1
  for _, group in ipairs(groups) do
    while column < group.from do
      table.insert(cells, "")
      column = column + 1
    end
    -- Span the columns of a group
    local name = pandoc.write(pandoc.Pandoc {pandoc.Plain(pandoc.Str(group.name))}, "latex")
    table.insert(cells, ("\\multicolumn{%d}{c}{%s}"):format(group.to - column + 1,
      name:gsub("%s+$", "")))
    rules = rules .. ("\\cmidrule(lr){%d-%d}"):format(group.from, group.to)
    column = group.to + 1
  end
  for _ = column, #header do table.insert(cells, "") end
  return #groups > 0 and table.concat(cells, " & ") .. " \\\\\n" .. rules .. "\n" or ""
end

-- Put the parts of a table together
function latex.table(simple, id, files)
  local long, out = #simple.rows > 45, pandoc.List()
  local source = files and latex.source(files) or ""
  local groups = groups_row(simple.header)
  if not long then break_wide(simple) end
  local begin = "{" .. columns_of(simple) .. "}\n"
  local function put(text) out:insert(latex.raw(text)) end
  local size = size_of(simple, long)
  if long and size then put("{" .. size .. "\n") end
  put(long and "\\begin{longtable}" .. begin or "\\begin{table}[htbp]\\centering\n")
  put("\\caption[]{")
  out:extend(simple.caption)
  put("}" .. command_of("label", id))
  -- Write the head of a table
  local function head(after)
    put("\\toprule\n" .. groups)
    out:extend(row_of(simple.header))
    put("\\midrule" .. after .. "\n")
  end
  -- Begin the rows of a table
  if long then
    put("\\\\\n")
    head("\\endfirsthead")
    head("\\endhead")
    put("\\bottomrule\\endfoot\n")
  else
    put("\n\\begin{fitted}" .. (size and "[" .. size .. "]" or "") ..
      "\\begin{tabular}" .. begin)
    head("")
  end
  for _, row in ipairs(simple.rows) do out:extend(row_of(row)) end
  put(long and "\\end{longtable}" .. (size and "}" or "") .. source or
    "\\bottomrule\n\\end{tabular}\\end{fitted}\n" .. source .. "\n\\end{table}")
  return pandoc.Plain(out)
end

-- The pen for HTML
local entities = {["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;"}

function html.text(text) return (text:gsub('[&<>"]', entities)) end

function html.mark(kind, text)
  return '<span class="' .. kind .. '">' .. html.text(text) .. "</span>"
end

function html.mention(id, number, word)
  return pandoc.Link(word and word .. " " .. number or tostring(number), "#" .. id)
end

-- Let a value lead to its origin
local told = {} -- the values that the text has told, by their keys

function html.value(key, inlines)
  for _, one in ipairs(inlines) do
    if one.t == "Cite" or one.t == "Link" then return inlines end
  end
  if preview then return inlines end
  told[key] = true
  return {pandoc.Link(inlines, "#value:" .. key, "", {class = "value"})}
end

-- math: a formula whose brackets grow by themselves: MathML knows no \Bigl and \Bigr
function html.math(text)
  return (text:gsub("\\[Bb]igg?l%f[%A]", "\\left"):gsub("\\[Bb]igg?r%f[%A]", "\\right"))
end

function html.code() return nil end

function html.identifier(name) return "<code>" .. html.text(name) .. "</code>" end

function html.name(name)
  return name:match("^%w+/") and html.identifier(name) or html.text(name)
end

-- Write chunks in HTML
local function anchor(piece, text)
  return '<a href="#' .. piece.anchor .. '">' .. text .. "</a>"
end

function html.pages(list)
  local out = {}
  for _, piece in ipairs(list) do
    out[#out + 1] = anchor(piece, html.name(piece.name))
  end
  return table.concat(out, ", ")
end

function html.from(piece) return "continued from " .. anchor(piece, "above") end

function html.on(piece) return "continued " .. anchor(piece, "below") end

function html.used(list) return "used in " .. html.pages(list) end

function html.link(piece, text) return anchor(piece, html.text(text)) end

-- reference: the mention of a chunk; without a link if that is in another chapter
function html.reference(piece, name)
  local text = "⟨" .. html.name(name) .. "⟩"
  return "<i>" .. (piece and anchor(piece, text) or text) .. "</i>"
end

function html.block(body, _, piece, notes)
  if not piece then
    return pandoc.RawBlock("html", "<pre><code>" .. body .. "</code></pre>")
  end
  -- Give each line an anchor
  local number = 0
  body = body:gsub("[^\n]*", function(line)
    number = number + 1
    return ('<a id="%s:%d" href="#%s:%d" tabindex="-1" aria-label="line %d"></a>'):format(
      piece.anchor, number, piece.anchor, number, number) .. line
  end)
  local name = "⟨" .. html.name(piece.name) .. "⟩≡"
  return pandoc.RawBlock("html", '<div class="chunk" id="' .. piece.anchor ..
    '"><p class="name"><span>' .. table.concat(notes, "; ") .. "</span>" .. name ..
    "</p><pre><code>" .. body .. "</code></pre></div>")
end

function html.concept(place) return pandoc.Span({}, {id = place.anchor}) end

local function concept_entry(one)
  local out = {one.title}
  for _, place in ipairs(one.places) do
    table.insert(out, anchor(place, place.section))
  end
  return "<li>" .. table.concat(out, ", ") .. "</li>"
end

function html.entry(one, file)
  if one.concept then return concept_entry(one) end
  return "<li>" .. anchor(one.places[1], one.title) ..
    (file and " in " .. html.text(file) or "") ..
    (#one.users > 0 and ", " .. html.used(one.users) or "") .. "</li>"
end

function html.index(entries)
  local list = table.concat(entries, "\n")
  return pandoc.RawBlock("html", '<ul class="index">\n' .. list .. "\n</ul>")
end

-- Write floats in HTML
local function numbered(word, id, caption)
  local name = word .. " " .. labels[id].number .. "."
  local out = pandoc.List {pandoc.Strong {pandoc.Str(name)}, pandoc.Space()}
  out:extend(caption)
  return out
end

local function source(files)
  local text = pandoc.List {pandoc.Code(command), pandoc.Str(": ")}
  text:insert(pandoc.Code(table.concat(files, ", ")))
  return pandoc.Div({pandoc.Plain(text)}, {class = "source"})
end

function html.unnumbered() end

function html.table(simple, id, files)
  simple.caption = numbered("Table", id, simple.caption)
  local groups = home and {} or groups_of(simple.header)
  local tbl = pandoc.utils.from_simple_table(simple)
  -- Put the groups of columns above their heads
  if #groups > 0 then
    local cells, column = {}, 1
    local function span(text, columns)
      local blocks = {pandoc.Plain(pandoc.Str(text))}
      if columns == 0 then return end
      table.insert(cells, pandoc.Cell(blocks, "AlignCenter", 1, columns))
      column = column + columns
    end
    for _, group in ipairs(groups) do
      span("", group.from - column)
      span(group.name, group.to - group.from + 1)
    end
    span("", #simple.header - column + 1)
    tbl.head.rows:insert(1, pandoc.Row(cells))
  end
  local content = pandoc.List {tbl}
  if files then content:insert(source(files)) end
  return pandoc.Div(content, {id = id, class = "float"})
end

function html.figure(path, caption, id, files, alt)
  local image = pandoc.Plain {pandoc.Image({pandoc.Str(alt)}, path .. ".svg")}
  local text = pandoc.Para(numbered("Figure", id, caption))
  local content = pandoc.List {image, text}
  if files then content:insert(source(files)) end
  return pandoc.Div(content, {id = id, class = "float"})
end

-- Set a block of code
local function set_lines(text, language, piece)
  local out, run, long = {}, {}, false
  local function flush()
    if #run == 0 then return end
    local links = piece and piece.links or {}
    table.insert(out, emphasise(table.concat(run, "\n"), language, links))
    run = {}
  end
  for line in (text .. "\n"):gmatch("(.-)\n") do
    -- Set a line or add it to the run
    local indent, name = line:match("^(%s*)<<([^<].-)>>%s*$")
    if piece and (chunks[name] or preview and users[name]) then
      flush()
      table.insert(out, indent .. pen.reference((chunks[name] or {})[1], name))
    else
      table.insert(run, line)
      long = long or (utf8.len(line) or #line) > 96
    end
  end
  flush()
  return table.concat(out, "\n"), long
end

-- Say where a chunk continues and where it is used
local next_piece = 1

local function set_code(block)
  local piece, language = pieces[next_piece], block.classes[1]
  if not piece or not language or block.text:match("^<<(.-)>>") ~= piece.name then
    return pen.block(set_lines(block.text, language))
  end
  next_piece = next_piece + 1
  -- Say where the piece belongs
  local all, notes, place = chunks[piece.name], {}, nil
  for i, one in ipairs(all) do if one == piece then place = i end end
  if place > 1 then table.insert(notes, pen.from(all[place - 1])) end
  if place < #all then table.insert(notes, pen.on(all[place + 1])) end
  local uses = users[piece.name] or {}
  if place == 1 and #uses > 0 then table.insert(notes, pen.used(uses)) end
  local body, long = set_lines(block.text:match("^[^\n]*\n?(.*)$"), language, piece)
  return pen.block(body, long, piece, notes)
end

-- Set tables and figures
-- needed: the text of a file that the run should have left
local function needed(path, id)
  local text = read(path)
  if not text and not preview then
    problem("#" .. id, path .. ' is not there; "' .. command .. '" writes it')
  end
  return text or ""
end

-- Read a table of tab-separated text
local function cell(text)
  return {pandoc.Plain {pandoc.Str((text:gsub(" ×", "\u{A0}×")))}}
end

local no_number = {[""] = true, ["–"] = true, ["—"] = true, ["not defined"] = true}

local function read_table(text, caption)
  local rows, numeric = pandoc.List(), {}
  text = splice(text, function(value) return value end)
  -- Read the rows and find the columns of numbers
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
  if not id then return pen.unnumbered(tbl) end
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
  local script, data = div.attributes.script, div.attributes.data
  local name, files = script:match("([^/]+)%.gp$"), false
  if data then
    files = {script, results .. "/" .. data}
    needed(files[2], div.identifier)
  end
  local caption, alt = split_alt(div)
  if alt == "" then
    problem("#" .. div.identifier,
      "a figure without a block ::: alt, its text alternative")
  end
  caption = pandoc.utils.blocks_to_inlines(caption)
  return pen.figure(figures .. "/" .. name, caption, div.identifier, files, alt)
end

-- Set parts and indexes
local part = 0

local function roman(number) return pandoc.utils.to_roman_numeral(number) end

local function set_part(div)
  part = part + 1
  return pen.part(part, pandoc.utils.stringify(div.content))
end

function latex.part(number, title)
  local contents = number == 2 and "\\contents\n" or ""
  local heading = command_of("bookpart", "part:" .. number, latex.text(title))
  return pandoc.RawBlock("latex", contents .. heading)
end

function html.part(number, title)
  local word = pandoc.Span({"Part " .. roman(number)})
  return pandoc.Div({pandoc.Plain {word, pandoc.Space(), pandoc.Str(title)}},
    {id = "part:" .. number, class = "part"})
end

function latex.parts()
  local out = {}
  for number, title in ipairs(parts) do
    local label, name = "part:" .. number, roman(number) .. " " .. latex.text(title)
    local place = ", page~" .. command_of("pageref*", label)
    table.insert(out, "\\hyperref[" .. label .. "]{\\mbox{" .. name .. place .. "}}")
  end
  return pandoc.MetaInlines {latex.raw(table.concat(out, "\\quad "))}
end

function html.parts() end

-- Set the indexes
local function index_of(list)
  -- Make a key for each entry
  for order, one in ipairs(list) do
    local first = one.name:match("^%w+/") and "1" or "2"
    one.key = first .. one.name:lower() .. "\t" .. one.name .. "\t" .. (one.file or "")
      .. ("\t%6d"):format(order)
  end
  table.sort(list, function(a, b) return a.key < b.key end)
  local out = {}
  for i, one in ipairs(list) do
    local before, after = list[i - 1] or {}, list[i + 1] or {}
    local twin = one.name == before.name or one.name == after.name
    table.insert(out, pen.entry(one, twin and one.file))
  end
  return pen.index(out)
end

local function index_of_chunks()
  local list = {}
  for name, places in pairs(chunks) do
    local title = pen.name(name)
    table.insert(list,
      {name = name, title = title, places = places, users = users[name] or {}})
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

local function index_of_concepts()
  local explained = {}
  for _, one in ipairs(concepts) do
    one.title, one.concept = pen.text(one.name), true
    if one.places[1] then table.insert(explained, one) end
  end
  return index_of(explained)
end

-- Find a way to set every character
local symbols = {
  ["−"] = "-", ["×"] = "\\times", ["÷"] = "\\div", ["±"] = "\\pm", ["·"] = "\\cdot",
  ["≤"] = "\\le", ["≥"] = "\\ge", ["≠"] = "\\ne", ["≈"] = "\\approx",
  ["∥"] = "\\parallel", ["∈"] = "\\in", ["∞"] = "\\infty", ["√"] = "\\surd",
  ["∑"] = "\\sum", ["½"] = "\\tfrac12",
  ["→"] = "\\rightarrow", ["←"] = "\\leftarrow", ["↔"] = "\\leftrightarrow",
  ["⇒"] = "\\Rightarrow", ["⟨"] = "\\langle", ["⟩"] = "\\rangle", ["²"] = "^2",
  ["³"] = "^3",
  ["α"] = "\\alpha", ["β"] = "\\beta", ["γ"] = "\\gamma", ["δ"] = "\\delta",
  ["ε"] = "\\varepsilon", ["θ"] = "\\theta", ["λ"] = "\\lambda", ["μ"] = "\\mu",
  ["σ"] = "\\sigma", ["τ"] = "\\tau",
}

-- has_latin: whether inputenc and the T1 fonts set a character without help
local function has_latin(code)
  return code < 0x180 or code >= 0x2010 and code <= 0x2026 or code == 0x20AC
    or code == 0x2122
end

-- declarations: LaTeX that teaches it each character beyond its fonts that was read
local function declarations()
  local out = pandoc.List()
  for letter in pairs(letters) do
    local symbol, code = symbols[letter], utf8.len(letter) and utf8.codepoint(letter)
    if symbol then
      out:insert("\\newunicodechar{" .. letter .. "}{\\ensuremath{" .. symbol .. "}}")
    elseif code and not has_latin(code) then
      local number = string.format("%04X", code)
      out:insert(command_of("newunicodechar", letter, command_of("codepoint", number)))
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
    if class == "concept-index" then return index_of_concepts() end
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
  local known, works = {}, read(pandoc.utils.stringify(doc.meta.bibliography))
  for key in works:gmatch("@%a+%s*{%s*([^,%s]+)") do known[key] = true end
  doc:walk {Cite = function(cite)
    for _, one in ipairs(cite.citations) do
      if not known[one.id] then
        problem("@" .. one.id, unknown("citation", one.id, known))
      end
    end
  end}
end

-- Write the title
local function write_title(meta)
  for _, name in ipairs {"title", "author", "course"} do
    local text = os.getenv(name:upper())
    if text and text ~= "" then meta[name] = text end
    for letter in (text or ""):gmatch("[\xC2-\xF4][\x80-\xBF]+") do
      if symbols[letter] then letters[letter] = true end
    end
  end
  if preview then -- no title page for one chapter
    meta.title, meta.pagetitle = nil, meta.title
    return
  end
  -- Say whose numbers these are
  local function value(key) return select(2, find(key, true)) or "" end
  meta.run = "Profile " .. value("run.profile") .. " on " .. value("run.device") ..
    ", " .. value("run.date")
  meta.subtitle, meta.date = meta.course, meta.run
  if not summary then meta.parts = pen.parts() end
end

-- List names and values for the site
local function list_names()
  local out = {}
  local function add(name, kind, piece)
    table.insert(out, {name = name, kind = kind, anchor = piece.anchor})
  end
  for _, piece in ipairs(pieces) do
    if piece == chunks[piece.name][1] then add(piece.name, "chunk", piece) end
  end
  for _, one in ipairs(identifiers) do add(one.name, one.kind, one.places[1]) end
  for _, one in ipairs(concepts) do
    if one.places[1] then add(one.name, "concept", one.places[1]) end
  end
  return out
end

local function list_values()
  local out = {}
  for key in pairs(told) do
    table.insert(out, {key = key, value = values[key], file = origins[key]})
  end
  table.sort(out, function(a, b) return a.key < b.key end)
  return out
end

local function weave(doc)
  -- Read the settings given on the command line
  local function setting(name) return pandoc.utils.stringify(doc.meta[name] or "") end

  pen = FORMAT:match("html") and html or latex
  results, figures, command = setting("results"), setting("figures"), setting("command")
  home = doc.meta.home and setting("home")
  summary, preview = doc.meta.summary ~= nil, doc.meta.preview ~= nil
  committed = doc.meta.committed and results
  -- Read what the chapters may refer to
  for _, path in ipairs(PANDOC_STATE.input_files) do read_lines(path) end
  for _, path in ipairs(doc.meta.values) do
    path = pandoc.utils.stringify(path)
    add_values(path, nil, read_json(path))
  end
  -- Choose, number and connect
  doc = doc:walk(choose):walk(leave_out):walk(going_on)
  doc:walk {Div = read_concepts}
  doc = doc:walk(collect)
  if not preview then check_concepts() end
  for path in setting("preview"):gmatch("%S+") do learn_titles(path) end
  local xref = read_json(setting("xref"))
  compare(xref)
  connect(xref)
  if summary then keep_first_part(doc) end
  doc = doc:walk(replace)
  check_citations(doc)
  doc = doc:walk(set)
  write_title(doc.meta)
  tell_problems()
  doc.meta.characters = pandoc.MetaInlines {latex.raw(declarations())}
  doc.meta.names, doc.meta.told = list_names(), list_values()
  return doc
end

return {{Pandoc = weave}}
