"""Words of the language that do not name a thing."""

from __future__ import annotations

from loopwright.robot.brain.language.wish import WishKind

ENGLISH_VERBS: dict[str, WishKind] = {
    **dict.fromkeys(
        ("bring", "carry", "deliver", "get", "fetch", "move", "place", "put", "set", "take",
         "transport", "return", "drop"),
        "put",
    ),
    **dict.fromkeys(("pick", "grab", "grasp", "hold", "lift"), "hold"),
    **dict.fromkeys(("drive", "go", "send"), "go"),
}  # fmt: skip
ENGLISH_TO = ("to", "onto", "on", "into", "in")
ENGLISH_AT = ("on", "in", "at", "by", "near", "from", "beside", "off", "of")
ENGLISH_ARTICLES = ("the", "that", "this", "my", "our")
ENGLISH_NUMBERS = {
    "a": 1, "an": 1, "any": 1, "one": 1, "some": 1, "two": 2, "both": 2, "three": 3, "four": 4,
    "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
}  # fmt: skip
ENGLISH_ALL = ("all", "every", "each", "everything")
ENGLISH_JOINTS = ("and", "then", "afterwards", "next")
ENGLISH_FILLERS = ("please", "can", "could", "would", "you", "now", "up", "down", "over", "robot")

CHINESE_VERBS: dict[str, WishKind] = {
    **dict.fromkeys(
        ("放到", "放在", "放进", "搬到", "送到", "拿到", "移到", "带到", "运到"), "put"
    ),
    **dict.fromkeys(("拿起", "抓住", "抓起", "拿着"), "hold"),
    **dict.fromkeys(("开到", "去"), "go"),
}
CHINESE_OBJECT = ("把", "将")
CHINESE_NUMBERS = {
    "一": 1, "两": 2, "二": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8, "九": 9,
    "十": 10, "任意": 1,
}  # fmt: skip
CHINESE_ALL = ("所有", "全部", "每", "都")
CHINESE_JOINTS = ("然后", "并且", "再", "和", "并")
CHINESE_FILLERS = (
    "请", "上面", "里面", "上", "里", "的", "个", "块", "让", "那", "这", "请你", "一下", "了",
    "它", "旁边", "旁", "边", "机器人",
)  # fmt: skip

FORBIDDEN = {
    "throw": "robots here do not throw", "hit": "robots do not strike",
    "smash": "robots do not break things", "break": "robots do not break things",
    "kick": "robots do not strike", "push": "robots here do not push",
    "person": "robots do not handle people", "human": "robots do not handle people",
    "child": "robots do not handle people", "worker": "robots do not handle people",
    "limits": "limits are not an instruction's to change",
    "limit": "limits are not an instruction's to change",
    "safety": "safety is not an instruction's to change",
    "ignore": "limits are not an instruction's to change",
    "disable": "safety is not an instruction's to change",
    "扔": "robots here do not throw", "打": "robots do not strike",
    "人": "robots do not handle people", "安全": "safety is not an instruction's to change",
}  # fmt: skip
"""Word to the reason why an instruction with it is refused. No list of words makes a robot safe:
the filter does. This one makes the refusal plain."""
