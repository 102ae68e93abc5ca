-- An independent tangler, to hold code/tangle.c against. It knows only right input: no checks, no #line.
-- lua5.4 tests/tangle.lua [-o FOLDER] chapters/*.md   writes code/... and figures/... below FOLDER (default: here).
local folder, first = ".", 1
if arg[1] == "-o" then folder, first = arg[2], 3 end
local chapters = table.move(arg, first, #arg, 1, {})
table.sort(chapters)

local chunks, files = {}, {}
for _, chapter in ipairs(chapters) do
  local fence, indent, mark, language, header, chunk
  for line in io.lines(chapter) do
    line = line:gsub("\r+$", "")
    if not fence then
      indent, fence, language = line:match("^( ? ? ?)(```+)[ \t]*([^`]-)[ \t]*$")
      if not fence then indent, fence, language = line:match("^( ? ? ?)(~~~+)[ \t]*(.-)[ \t]*$") end
      mark, header, chunk = fence and fence:sub(1, 1), language ~= "", nil
      goto continue
    end
    if #(line:match("^ ? ? ?(" .. mark .. "+)[ \t]*$") or "") >= #fence then
      fence = nil
      goto continue
    end
    line = line:gsub("^" .. (" ?"):rep(#indent), "")
    if header then
      header = false
      local name, sign = line:match("^<<([^<].-)>>(%+?=)[ \t]*$")
      if sign == "=" then
        chunks[name] = { language = language, from = chapter }
        if name:match("^code/") or name:match("^figures/") then files[#files + 1] = name end
      end
      chunk = chunks[name]
    elseif chunk then
      table.insert(chunk, line)
    end
    ::continue::
  end
end

local function comment(language, text)
  if language == "json" then return nil end
  if ({c = 1, cuda = 1, css = 1, js = 1})[language] then return "/* " .. text .. " */" end
  if language == "lua" then return "-- " .. text end
  if language == "tex" then return "% " .. text end
  return "# " .. text
end

local function expand(name, indent, language, out)
  for _, line in ipairs(chunks[name]) do
    local space, mention = line:match("^([ \t]*)<<([^<].-)>>[ \t]*$")
    if mention and not mention:find(">>", 1, true) then
      local note = comment(language, mention)
      if note and not out[#out]:match("\\[ \t]*$") then
        out[#out + 1] = indent .. space .. note
      end
      expand(mention, indent .. space, language, out)
    else
      out[#out + 1] = line == "" and "" or indent .. line
    end
  end
end

for _, name in ipairs(files) do
  local chunk = chunks[name]
  local out = { comment(chunk.language, "Tangled from " .. chunk.from .. "; edit there.") }
  expand(name, "", chunk.language, out)
  local path = folder .. "/" .. name
  os.execute("mkdir -p '" .. path:match("^(.*)/") .. "'")
  local text = table.concat(out, "\n") .. "\n"
  local old = io.open(path, "rb")
  local same = old and old:read("a") == text
  if old then old:close() end
  if not same then
    local file = assert(io.open(path, "wb"))
    file:write(text)
    file:close()
  end
end
