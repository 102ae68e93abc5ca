-- An independent tangler, to hold code/tangle.c against. It knows only right input: no checks, no #line.
-- lua5.4 tests/tangle.lua [-o FOLDER] chapters/*.md   writes code/... and figures/... below FOLDER (default: here).
local folder, first = ".", 1
if arg[1] == "-o" then folder, first = arg[2], 3 end

local chunks, files = {}, {}
for i = first, #arg do
  local fence, language, name
  for line in io.lines(arg[i]) do
    if not fence then
      local ticks, info = line:match("^(```+)%s*(%S*)%s*$")
      if ticks then fence, language, name = ticks, info, false end
    elseif line:match("^`+%s*$") and #line:match("^`+") >= #fence then
      fence = nil
    elseif name == false then
      local text, sign = line:match("^<<(.-)>>(%+?=)%s*$")
      name = text
      if name and sign == "=" then
        chunks[name] = { language = language, from = arg[i] }
        if name:match("^code/") or name:match("^figures/") then files[#files + 1] = name end
      end
    elseif name then
      table.insert(chunks[name], line)
    end
  end
end

local function comment(language, text)
  if language == "c" or language == "cuda" then return "/* " .. text .. " */" end
  if language == "lua" then return "-- " .. text end
  if language == "tex" or language == "latex" then return "% " .. text end
  return "# " .. text
end

local function expand(name, indent, language, out)
  for _, line in ipairs(chunks[name]) do
    local space, reference = line:match("^(%s*)<<([^<].-)>>%s*$")
    if reference then
      local inner = indent .. space
      if not (out[#out] or ""):match("\\$") then
        out[#out + 1] = inner .. comment(language, reference)
      end
      expand(reference, inner, language, out)
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
