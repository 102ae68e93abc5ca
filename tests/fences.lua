-- Chapters made at random, always the same ones, of fences in whatever markdown can put them in. pandoc runs this as a
-- filter: what it takes for chunks must be what the tangler writes, and the independent one, too; or the tangler must
-- refuse the chapter by line. Prints what does not hold, and then how many chapters were taken and how many refused.
local tangle, tangle_lua, CASES = os.getenv("TANGLE"), os.getenv("TANGLE_LUA"), 700
math.randomseed(1)
local random = math.random
local function pick(...) return (select(random(select("#", ...)), ...)) end
local function often(usual, ...) return random(8) > 1 and usual or pick(...) end

-- the lines of a fence, most often right; nothing in it looks like the name of a chunk but its first line
local files
local function fence()
  local mark = often("`", "~")
  local opening = mark:rep(often(3, 4))
  local name = "code/" .. files .. ".text"
  files = files + 1
  local lines = { opening .. often("text", " text", "{.text}", "", "text {#id}", "text `") }
  table.insert(lines, often("<<" .. name .. ">>=", " <<" .. name .. ">>=", "", "<<" .. name .. ">>= ", "example"))
  if lines[2] == "" then table.insert(lines, pick("example", "<<" .. name .. ">>=")) end
  for _ = 1, random(0, 4) do
    table.insert(lines, often("words", "", "  deeper", "\ttab", "- a", "> b", "1. c", "```", "~~~~", "# d", ":::", "-->",
      "</div>", "    ````", "* * *", "[e]: f", "---", "$$"))
  end
  table.insert(lines, often(opening, opening .. mark, " " .. opening, mark:rep(3), opening .. " ", "    " .. opening, ""))
  return lines
end

local function prose()
  return often({ "Words." }, { "# Heading" }, { "Words", "and words." }, { "" }, { "- item" }, { "1. item" }, { "> said" },
    { "| a | b |" }, { "Words `<!--` and `-->`" }, { "* * *" }, { "<br>" }, { ": definition" }, { "`` code" })
end

local function prefixed(lines, first, rest)
  for i, line in ipairs(lines) do
    local before = i == 1 and first or rest
    lines[i] = line == "" and before:match("^%s*$") and random(2) == 1 and "" or before .. line
  end
  return lines
end

local function join(...)
  local out = {}
  for _, lines in ipairs { ... } do table.move(lines, 1, #lines, #out + 1, out) end
  return out
end

-- blocks in blocks, to some depth; an empty line between them, most often
local function blocks(depth)
  local out = {}
  for _ = 1, random(2) do
    local block = random(2) == 1 and fence() or prose()
    if depth > 0 then
      local inside = blocks(depth - 1)
      block = pick(
        function() return inside end,
        function() return prefixed(inside, pick("- ", "-   ", "1. ", "  - "), pick("  ", "   ", "    ")) end,
        function()
          local item = pick("- ", "1. ", "10. ")
          local by = (" "):rep(#item)
          return join({ item .. "item", "" }, prefixed(inside, by, by))
        end,
        function() return prefixed(inside, "> ", often("> ", "")) end,
        function() local by = (" "):rep(random(4)) return prefixed(inside, by, by) end,
        function() return prefixed(inside, "\t", "\t") end,
        function() return join({ "::: {.box}" }, inside, { ":::" }) end,
        function() return join({ "<div>", "" }, inside, { "", "</div>" }) end,
        function() return join({ pick("<!--", "Words <!-- words") }, inside, { "-->" }) end)()
    end
    out = join(out, block, often({ "" }, {}))
  end
  return out
end

-- what pandoc sees: the chunks, by name, without the white space of empty lines
local function seen_by_pandoc(text)
  local found = {}
  pandoc.read(text, "markdown").blocks:walk {
    CodeBlock = function(block)
      local name, body = (block.text .. "\n"):match("^<<([^<\n].-)>>%+?=[ \t]*\n(.*)")
      if name and block.classes[1] then found[name] = body:gsub("[ \t]+\n", "\n") end
    end,
  }
  return found
end

local function read(path)
  local file = io.open(path)
  if not file then return nil end
  local text = file:read("a")
  file:close()
  return text
end

local function seen_below(folder)
  local found = {}
  for i = 0, files - 1 do
    local name = "code/" .. i .. ".text"
    local text = read(folder .. "/" .. name)
    if text then found[name] = text:gsub("^[^\n]*\n", ""):gsub("[ \t]+\n", "\n") end
  end
  return found
end

local function same(a, b)
  for name, text in pairs(a) do if b[name] ~= text then return false end end
  for name in pairs(b) do if not a[name] then return false end end
  return true
end

local taken, refused, empty = 0, 0, 0
local function try()
  files = 0
  local text = table.concat(join({ "" }, blocks(random(0, 3))), "\n") .. "\n"
  local file = assert(io.open("1.md", "w"))
  file:write(text)
  file:close()
  os.execute("rm -rf c lua")
  if not os.execute(tangle .. " --strict -o c 1.md 2>said") then
    refused = refused + 1
    local said = read("said")
    if not said:find("^1%.md:%d+: error: ") or os.execute("[ -e c ]") then print("refused badly:", said) end
    return
  end
  assert(os.execute("lua5.4 " .. tangle_lua .. " -o lua 1.md"))
  local c, other, pandoc = seen_below("c"), seen_below("lua"), seen_by_pandoc(text)
  if not same(c, other) then print("the two tanglers differ:\n" .. text) end
  if not same(c, pandoc) then print("pandoc differs from the tangler:\n" .. text) end
  taken, empty = taken + 1, empty + (next(c) and 0 or 1)
end

for _ = 1, CASES do try() end
print(taken - empty .. " taken, " .. empty .. " without a chunk, " .. refused .. " refused")
os.exit(0)
