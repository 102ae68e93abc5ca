-- pages.lua: reads what `pdftohtml -xml -i -stdout -fontfullname` says of the book, and says which headings stand at the
-- foot of a page, and which chunks' names. A heading needs two lines below it on its page, be they text, code or part of a
-- figure; a chunk's name needs one of code. Exits with 1 if any lacks them.
local fonts, pages, faults = {}, {}, 0

for line in io.lines() do
  local id, size, family, color = line:match('<fontspec id="(%d+)" size="(%d+)" family="([^"]*)" color="(#%x+)"')
  if id then fonts[id] = {size = tonumber(size), bold = family:match("Bold"), black = color == "#000000"} end
  local number = line:match('<page number="(%d+)"')
  if number then table.insert(pages, {number = number}) end
  local top, left, height, font, text = line:match('<text top="(%-?%d+)" left="(%-?%d+)" width="%-?%d+" height="(%d+)" font="(%d+)">(.*)</text>')
  if top then
    table.insert(pages[#pages], {bottom = top + height, left = tonumber(left), font = fonts[font], linked = text:match("<a "),
      text = text:gsub("<[^>]*>", "")})
  end
end

-- lines_of: the lines of a page, from top to foot, each with its text
local function lines_of(page)
  local lines = {}
  table.sort(page, function(a, b) return a.bottom < b.bottom or a.bottom == b.bottom and a.left < b.left end)
  for _, piece in ipairs(page) do
    local last = lines[#lines]
    if not last or piece.bottom - last.bottom > 8 then
      last = {bottom = piece.bottom}
      table.insert(lines, last)
    end
    table.insert(last, piece)
  end
  return lines
end

-- kind_of: a heading is bold, coloured, not small, and no link, as in the contents; a chunk's name begins with a bracket
local function kind_of(line)
  table.sort(line, function(a, b) return a.left < b.left end)
  local heading, linked, text = false, false, {}
  for _, piece in ipairs(line) do
    table.insert(text, piece.text)
    heading = heading or piece.font.size >= 15 and piece.font.bold and not piece.font.black
    linked = linked or piece.linked
  end
  line.text = table.concat(text, " ")
  return heading and not linked and "heading" or line.text:match("^⟨.*⟩.*≡") and "name" or "line"
end

local function fault(page, line, what)
  print(("page %s: %s: %s"):format(page.number, line.text, what))
  faults = faults + 1
end

local headings, names = 0, 0
for _, page in ipairs(pages) do
  local lines = lines_of(page)
  table.remove(lines, 1) -- the running head
  for _, line in ipairs(lines) do line.kind = kind_of(line) end
  for i, line in ipairs(lines) do
    if line.kind == "name" then
      names = names + 1
      if not lines[i + 1] then fault(page, line, "a chunk's name at the foot") end
    elseif line.kind == "heading" then
      headings = headings + 1
      local at, below = i + 1, 0 -- the next heading is looked at itself
      while lines[at] and lines[at].kind ~= "heading" and below < 2 do
        if lines[at].kind == "line" then below = below + 1 end
        at = at + 1
      end
      if not lines[at] and below < 2 then fault(page, line, "a heading at the foot") end
    end
  end
end
print(("# %d headings, %d names of chunks on %d pages"):format(headings, names, #pages))
os.exit(faults == 0)
