-- floats.lua AUX PAGES PAGE.html…: says of a woven book which tables and figures are not where its prose speaks of them. AUX:
-- what LaTeX kept of its labels; PAGES: what `pdftohtml -xml -i -stdout -fontfullname` says of the PDF; behind them the pages
-- of the site. On the site each is mentioned by its number before it stands, in the same section and at most FEW blocks
-- before; a table or figure between is no block. In the PDF the nearest mention is at most a page away, and the captions
-- count upwards. Exits with 1 if one is not so.
local FEW <const> = 4
local faults, seen, floats, order = 0, 0, {}, {}

local function fault(...)
  print(("%s: %s"):format(...))
  faults = faults + 1
end

for line in io.lines(arg[1]) do
  local id, number, page = line:match("^\\newlabel{(%l%l%l:[^}]*)}{{(%d+)}{(%d+)}")
  local word = id and ({tbl = "able ", fig = "igure "})[id:sub(1, 3)]
  if word then
    floats[id] = {id = id, words = word .. number, kind = word, number = tonumber(number), page = tonumber(page)}
    table.insert(order, floats[id])
  end
end
table.sort(order, function(a, b) return a.kind < b.kind or a.kind == b.kind and a.number < b.number end)

-- the text of each page, a caption's label without the number that it gives
local pages = {}
for line in io.lines(arg[2]) do
  if line:match("<page number") then table.insert(pages, {}) end
  local text = line:match("<text [^>]*>(.*)</text>")
  if text and not text:match("<b>%u%l+ %d+:") then table.insert(pages[#pages], (text:gsub("<[^>]*>", ""))) end
end
for i, page in ipairs(pages) do pages[i] = table.concat(page, " "):gsub("\u{A0}", " ") end

local function mentions(page, words)
  return pages[page] and pages[page]:find(words .. "%f[%D]") ~= nil
end

local last
for _, one in ipairs(order) do
  seen = seen + 1
  local near = 0
  while near <= #pages and not mentions(one.page - near, one.words) and not mentions(one.page + near, one.words) do near = near + 1 end
  if near > #pages then
    fault(one.id, "no page of the PDF mentions it")
  elseif near > 1 then
    fault(one.id, ("page %d, and the next mention is %d pages away"):format(one.page, near))
  end
  if last and last.kind == one.kind and last.page > one.page then fault(one.id, "stands before " .. last.id) end
  last = one
end

-- a page of the site as a list of headings, floats and blocks. What has blocks in it, a list say, is not one itself
local function walk(name)
  local text, at, inside, block, told = io.open(name):read("a"), 1, nil, 0, {}
  text = text:match("<main.-</main>") or text
  while true do
    local from, to, close, tag, attributes = text:find("<(/?)(%w+)([^>]*)>", at)
    if not from then break end
    at = to + 1
    local label = attributes:match('id="(%l%l%l:[^"]*)"')
    if inside then
      if tag == "div" then inside = inside + (close == "" and 1 or -1) end
      if inside == 0 then inside = nil end
    elseif close == "" and tag == "div" and attributes:match('class="float"') then
      inside = 1
      local one = floats[label]
      if one and not one.placed then
        one.placed = true
        if not told[label] then
          fault(label, name:match("[^/]*$") .. ", and its section did not mention it")
        elseif block - told[label] > FEW then
          fault(label, ("%s, %d blocks behind its mention"):format(name:match("[^/]*$"), block - told[label]))
        end
      end
    elseif close == "" and tag:match("^h%d$") then
      told = {}
    elseif close == "" and (tag == "p" or tag == "li" or tag == "pre" or tag == "table") then
      block = block + 1
    elseif close == "" and tag == "a" then
      local to_float = attributes:match('href="[^"]*#(%l%l%l:[^"]*)"')
      if to_float then told[to_float] = block end
    end
  end
end
for i = 3, #arg do walk(arg[i]) end
for _, one in ipairs(order) do
  if not one.placed then fault(one.id, "no page of the site has it") end
end
print(("# %d tables and figures on %d pages"):format(seen, #pages))
os.exit(faults == 0 and seen > 0)
