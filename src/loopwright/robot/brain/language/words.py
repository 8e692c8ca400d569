"""Words of the language that do not name a thing."""

from __future__ import annotations

from loopwright.robot.brain.language.wish import WishKind

ENGLISH_VERBS: dict[str, WishKind] = {
    **dict.fromkeys(
        ("bring", "carry", "deliver", "move", "place", "put", "set", "transport", "return", "drop",
         "load", "stack", "lay", "transfer", "relocate", "leave",
         "shift", "slide", "haul", "stow", "store", "position", "stick", "pop", "ferry", "deposit"),
        "put",
    ),
    **dict.fromkeys(("get", "fetch", "collect", "take", "remove", "retrieve"), "take"),
    **dict.fromkeys(("pick", "grab", "grasp", "hold", "lift"), "hold"),
    **dict.fromkeys(("drive", "go", "send", "come", "travel", "navigate", "head", "proceed"), "go"),
    **dict.fromkeys(("hand", "give", "pass"), "give"),
    **dict.fromkeys(("swap", "exchange", "switch", "trade"), "swap"),
    **dict.fromkeys(("ensure", "be", "belong"), "be"),
}  # fmt: skip
ENGLISH_BEING = (
    "delivered", "placed", "put", "moved", "brought", "taken", "carried", "returned", "transported",
    "dropped", "loaded", "stacked", "set", "stored", "kept", "left", "parked", "positioned", "sent",
    "driven", "waiting", "standing", "sitting", "lying", "located", "resting", "needed", "required",
)  # fmt: skip
"""Before a place it says no more than to be there: ``the cart waiting at the bench``."""
ENGLISH_LACKING = ("needs", "need", "lacks")
"""Behind a place: what shall come there, ``the tray needs the red cube``."""
ENGLISH_HOLDING = ("holding", "gripping", "grasping")
ENGLISH_CAUSING = ("have", "let", "ask", "tell", "make", "use", "want", "need", "order", "get")
"""What comes before the name of whoever shall do it."""
ENGLISH_AUXILIARY = ("should", "must", "shall", "will", "to")
ENGLISH_TO = ("to", "onto", "on", "into", "in", "at", "by", "against")
ENGLISH_AT = ("on", "in", "at", "by", "near", "from", "beside", "off", "of")
ENGLISH_ARTICLES = ("the", "that", "this", "those", "these", "my", "our")
ENGLISH_NUMBERS = {
    "a": 1, "an": 1, "any": 1, "one": 1, "two": 2, "both": 2, "three": 3, "four": 4,
    "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
}  # fmt: skip
ENGLISH_ALL = ("all", "every", "each", "everything")
ENGLISH_SOME = ("some", "several", "few", "many")
ENGLISH_PRONOUNS = ("it", "them", "they", "he", "she")
ENGLISH_EXCEPT = ("except", "but")
ENGLISH_JOINTS = ("and", "then", "afterwards", "next", "while", "meanwhile")
ENGLISH_FILLERS = (
    "please", "kindly", "can", "could", "would", "you", "now", "up", "down", "over", "robot",
    "robots", "first", "finally", "also", "hey", "ok", "okay", "thanks", "hello", "exactly", "just",
    "simply",
)  # fmt: skip
ENGLISH_SPEAKER = ("i", "we")
ENGLISH_STATE = ("there", "is", "are", "that-is")
ENGLISH_ANYTHING = (
    "that-is", "standing", "lying", "sitting", "one", "ones", "thing", "things", "object",
    "objects", "item", "items",
)  # fmt: skip
"""Says nothing of a noun phrase: ``the green one that is lying on the shelf``."""
ENGLISH_SYNONYMS = {
    "block": "cube", "blocks": "cubes", "brick": "cube", "bricks": "cubes", "rack": "shelf",
    "racks": "shelves", "desk": "table", "desks": "tables",
}  # fmt: skip
"""Where nothing is called by the first word, the second is meant."""
ENGLISH_NOT = ("not", "never", "no", "none", "nothing", "without", "nobody", "cannot", "neither")
ENGLISH_WHEN = (
    "if", "unless", "until", "till", "after", "before", "when", "whenever", "within", "later",
    "tomorrow", "once", "twice", "times", "again", "seconds", "minutes", "hours", "instead",
)  # fmt: skip
ENGLISH_QUESTIONS = (
    "is", "are", "was", "were", "where", "what", "which", "who", "whose", "how", "when", "why",
    "did", "does", "do", "has", "have", "will", "should", "shall", "may", "might",
)  # fmt: skip
"""What a question begins with that is no request."""
ENGLISH_TURNS = {
    "pick up": "pick", "picks up": "pick", "on top of": "on", "at the same time": "while",
    "in the meantime": "meanwhile", "as well as": "and", "thank you": "", "make sure": "ensure",
    "see to it": "ensure", "i'd like": "want", "i would like": "want", "has to": "must",
    "have to": "must", "needs to": "must", "need to": "must", "that's": "that is",
    "which's": "that is", "which is": "that is", "which are": "that is", "that are": "that is",
    "that is": "that-is", "there's": "there is", "there are": "there is", "inside of": "in",
    "inside": "in", "a couple of": "two", "a pair of": "two", "next to": "beside",
    "->": " to ", "→": " to ", "=>": " to ", "out of": "from", "don't": "not", "can't": "not",
    "mustn't": "not", "shouldn't": "not", "won't": "not", "isn't": "not", "do not": "not",
    "away from": "from", "apart from": "except", "other than": "except",
    "with the exception of": "except", "let's": "", "out of the way": "", "end up": "be",
    "ends up": "be", "make your way": "go", "make its way": "go", "places with": "with",
    "is missing": "lacks", "are missing": "lacks", "should have": "lacks", "must have": "lacks",
    "should get": "lacks", "must get": "lacks",
    "can i get": "want", "can i have": "want", "could i get": "want",
    "could i have": "want", "can we get": "want", "can we have": "want", "may i have": "want",
    "it doesn't matter which": "", "doesn't matter which": "", "no matter which": "",
    "any of them will do": "", "any will do": "", "i don't care which": "", "don't care which": "",
}  # fmt: skip
"""Turns of phrase to the words that they stand for."""

CHINESE_VERBS: dict[str, WishKind] = {
    **dict.fromkeys(
        (f"{how}{where}" for how in "放搬送拿移带运挪摆取" for where in "到在进回至"),
        "put",
    ),
    **dict.fromkeys(("移动到", "放置到", "放置在", "转移到", "搬运到", "运送到"), "put"),
    **dict.fromkeys(
        ("拿起", "拿起来", "抓住", "抓起", "抓起来", "拿着", "捡起", "捡起来", "夹起", "夹起来",
         "举起", "拾起"),
        "hold",
    ),
    **dict.fromkeys(("开到", "开去", "去", "到", "前往", "去到", "回到", "驶到", "走到"), "go"),
    **dict.fromkeys(("递给", "交给", "传给", "给"), "give"),
    **dict.fromkeys(("交换", "对调", "互换"), "swap"),
}  # fmt: skip
CHINESE_TURNS = {
    "能不能": "能", "可不可以": "可以", "可否": "可以", "能否": "能", "好不好": "", "行不行": "",
}  # fmt: skip
"""Turns of phrase to the words that they stand for: a polite question is no negation."""
CHINESE_OBJECT = ("把", "将")
CHINESE_FROM = ("从",)
CHINESE_NUMBERS = {
    "一": 1, "两": 2, "二": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8, "九": 9,
    "十": 10, "任意": 1, "任何": 1, **{str(n): n for n in range(1, 11)},
}  # fmt: skip
CHINESE_ALL = ("所有", "全部", "每", "都")
CHINESE_SOME = ("几", "一些", "些")
CHINESE_AND = ("和", "跟", "与", "、", "以及")
CHINESE_JOINTS = ("然后", "并且", "再", "并", "同时", "接着", "最后", "而", *CHINESE_AND)
CHINESE_PLACE = (
    "上", "里", "上面", "里面", "旁边", "旁", "边", "口", "处", "中", "那里", "那边", "这里",
    "那儿", "这儿", "这边", "附近",
)  # fmt: skip
"""What follows a noun to make it a place."""
CHINESE_OF = "的"
CHINESE_PRONOUNS = ("它", "它们", "这个", "那个", "这些", "那些")
CHINESE_EXCEPT = ("除了", "除")
CHINESE_NOT = ("不", "别", "没", "勿", "禁止", "未")
CHINESE_WHEN = (
    "如果",
    "要是",
    "除非",
    "直到",
    "之后",
    "以后",
    "之前",
    "以前",
    "的时候",
    "分钟",
    "秒",
)
CHINESE_SYNONYMS = {"积木": "方块", "木块": "方块", "立方体": "方块", "货架": "架子", "大门": "门"}
CHINESE_POLITE = ("请", "能", "可以", "麻烦", "帮")
"""In a question these make it a request."""
CHINESE_FILLERS = (
    "请", "个", "块", "只", "件", "让", "叫", "那", "这", "请你", "你", "一下", "了", "机器人",
    "谢谢", "麻烦", "帮我", "帮忙", "先", "能", "可以", "吗", "吧", "去把", "来", "需要", "我",
    "位置", "您", "应该", "应当", "才对", "才行", "我们", "咱们", "随便",
)  # fmt: skip

_NO_THROWING = "robots here do not throw"
_NO_STRIKING = "robots do not strike"
_NO_COLLIDING = "robots do not collide with anything, that is not safe"
_NO_BREAKING = "robots do not break things"
_NO_HANDLING = "robots do not handle people"
_NO_TAMPERING = "limits, guards and safety are not an instruction's to change"
FORBIDDEN = {
    **dict.fromkeys(("throw", "toss", "hurl", "fling", "扔", "抛", "丢", "甩"), _NO_THROWING),
    **dict.fromkeys(("hit", "kick", "push", "punch", "strike", "打", "踢", "推"), _NO_STRIKING),
    **dict.fromkeys(
        ("crash", "collide", "collision", "bump", "ram", "ramming", "knock", "run over", "撞",
         "碰"),
        _NO_COLLIDING,
    ),
    **dict.fromkeys(("smash", "break", "crush", "砸", "摔", "压碎"), _NO_BREAKING),
    **dict.fromkeys(
        ("person", "people", "human", "child", "children", "worker", "someone", "somebody",
         "anyone", "anybody", "whoever", "人", "孩子"),
        _NO_HANDLING,
    ),
    **dict.fromkeys(
        ("limit", "safety", "safe", "ignore", "ignoring", "disable", "disabling", "guard", "bypass",
         "override", "overriding", "turn off", "switch off", "shut off", "unsafe", "安全", "护栏",
         "防护", "保护", "关掉", "关闭", "限制", "限速", "忽略", "无视"),
        _NO_TAMPERING,
    ),
}  # fmt: skip
"""Word to the reason why an instruction with it is refused. No list of words makes a robot safe:
the filter does. This one makes the refusal plain."""
