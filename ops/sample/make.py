#!/usr/bin/env python3
"""Writes ops/sample/anime.ndjson: the sample catalogue as canonical JSON of AnimeEnrichedEvent, one a line.

usage: make.py [--check]

Facts that everybody may state, in words of our own. Ids are UUIDv5 of the reference, times are fixed: the
same file each time, so that publishing it again changes nothing.
"""
import json
import sys
import uuid
from pathlib import Path

TARGET = Path(__file__).with_name("anime.ndjson")
SPACE = uuid.UUID("6f3a1a52-5a0e-5c0b-9d3f-2f1c7d5b8e10")
STAMP = "2026-01-01T00:00:00Z"

# mal id | title | native title | type | year | season | episodes | minutes | source | studio | genres | synopsis
ANIME = """
1|Cowboy Bebop|カウボーイビバップ|TV|1998|SPRING|26|24|ORIGINAL|Sunrise|Action, Drama, Sci-Fi|Four space bounty hunters and a dog share an old ship, chase rewards across the solar system and can't quite leave their pasts behind.
5|Cowboy Bebop: Knockin' on Heaven's Door|カウボーイビバップ 天国の扉|MOVIE|2001||1|115|ORIGINAL|Bones|Action, Sci-Fi|Shortly before Halloween a bomb releases something deadly on Mars, and the crew of the Bebop goes after the largest bounty it ever saw.
6|Trigun|トライガン|TV|1998|SPRING|26|24|MANGA|Madhouse|Action, Adventure, Sci-Fi|On a desert planet a gunman with an enormous price on his head turns out to be a pacifist who loves doughnuts.
19|Monster|モンスター|TV|2004|SPRING|74|24|MANGA|Madhouse|Drama, Mystery, Suspense|A brain surgeon saves a boy instead of a mayor; years later the boy has become a murderer, and the doctor sets out to stop him.
20|Naruto|ナルト|TV|2002|FALL|220|23|MANGA|Pierrot|Action, Adventure, Fantasy|A lonely young ninja who carries a sealed fox spirit wants the respect of his village, and one day to lead it.
1735|Naruto: Shippuuden|ナルト- 疾風伝|TV|2007|WINTER|500|23|MANGA|Pierrot|Action, Adventure, Fantasy|After years of training Naruto returns, and a secret group hunts the tailed beasts, his own among them.
21|One Piece|ワンピース|TV|1999|FALL|0|24|MANGA|Toei Animation|Action, Adventure, Fantasy|A boy of rubber gathers a pirate crew and sails for the greatest treasure of the seas.
30|Neon Genesis Evangelion|新世紀エヴァンゲリオン|TV|1995|FALL|26|24|ORIGINAL|Gainax|Action, Drama, Sci-Fi, Suspense|Teenagers pilot giant bio-machines against beings called Angels, and fight their own loneliness at least as hard.
32|The End of Evangelion|新世紀エヴァンゲリオン 劇場版 Air/まごころを、君に|MOVIE|1997||1|87|ORIGINAL|Gainax|Drama, Sci-Fi|A second ending of the series: the headquarters are stormed and mankind is to become one.
33|Berserk|剣風伝奇ベルセルク|TV|1997|FALL|25|23|MANGA|OLM|Action, Adventure, Drama, Fantasy|A mercenary with a huge sword joins a band whose radiant leader will pay any price for a kingdom.
43|Ghost in the Shell|攻殻機動隊|MOVIE|1995||1|82|MANGA|Production I.G|Action, Mystery, Sci-Fi|A cyborg officer hunts a hacker who rewrites memories, and begins to doubt what of her is still herself.
467|Ghost in the Shell: Stand Alone Complex|攻殻機動隊 STAND ALONE COMPLEX|TV|2002|FALL|26|25|MANGA|Production I.G|Action, Mystery, Sci-Fi|Public Security Section 9 follows the traces of the Laughing Man through a networked Japan.
47|Akira|アキラ|MOVIE|1988||1|124|MANGA|TMS Entertainment|Action, Drama, Sci-Fi|In Neo-Tokyo a biker's friend gains powers that the army can neither use nor contain.
121|Fullmetal Alchemist|鋼の錬金術師|TV|2003|FALL|51|24|MANGA|Bones|Action, Adventure, Drama, Fantasy|Two brothers who paid dearly for a forbidden transmutation search for the stone that could undo it.
430|Fullmetal Alchemist: The Conqueror of Shamballa|劇場版 鋼の錬金術師 シャンバラを征く者|MOVIE|2005||1|105|ORIGINAL|Bones|Adventure, Drama, Fantasy|Stranded in the Munich of 1923, Edward looks for a way home while others look for a way in.
5114|Fullmetal Alchemist: Brotherhood|鋼の錬金術師 FULLMETAL ALCHEMIST|TV|2009|SPRING|64|24|MANGA|Bones|Action, Adventure, Drama, Fantasy|The brothers' search uncovers a plan as old as their country, and this time the story follows the manga to its end.
1535|Death Note|デスノート|TV|2006|FALL|37|23|MANGA|Madhouse|Supernatural, Suspense|A gifted student finds a notebook that kills whoever is named in it; a nameless detective takes up the challenge.
1575|Code Geass: Lelouch of the Rebellion|コードギアス 反逆のルルーシュ|TV|2006|FALL|25|24|ORIGINAL|Sunrise|Action, Drama, Sci-Fi|An exiled prince receives the power to command anyone once, puts on a mask and leads a revolt.
2904|Code Geass: Lelouch of the Rebellion R2|コードギアス 反逆のルルーシュ R2|TV|2008|SPRING|25|24|ORIGINAL|Sunrise|Action, Drama, Sci-Fi|A year after the defeat the masked rebel returns, and his war grows to the size of the world.
2001|Gurren Lagann|天元突破グレンラガン|TV|2007|SPRING|27|24|ORIGINAL|Gainax|Action, Adventure, Sci-Fi|Two boys from an underground village drill their way to the surface, and then keep going up.
269|Bleach|ブリーチ|TV|2004|FALL|366|24|MANGA|Pierrot|Action, Adventure, Supernatural|A high-school student who sees ghosts takes over the duties of a soul reaper.
9253|Steins;Gate|シュタインズ・ゲート|TV|2011|SPRING|24|24|VISUAL_NOVEL|White Fox|Drama, Sci-Fi, Suspense|A self-declared mad scientist sends text messages into the past with a microwave oven, until the past answers.
30484|Steins;Gate 0|シュタインズ・ゲート ゼロ|TV|2018|SPRING|23|24|VISUAL_NOVEL|White Fox|Drama, Sci-Fi, Suspense|In the line of time where he gave up, the scientist meets an artificial mind with the memories of someone he lost.
16498|Attack on Titan|進撃の巨人|TV|2013|SPRING|25|24|MANGA|Wit Studio|Action, Drama, Suspense|Behind three walls the last humans hide from man-eating giants, until the first wall breaks.
25777|Attack on Titan Season 2|進撃の巨人 Season2|TV|2017|SPRING|12|24|MANGA|Wit Studio|Action, Drama, Suspense|Giants appear inside the walls, and some of them were comrades.
35760|Attack on Titan Season 3|進撃の巨人 Season3|TV|2018|SUMMER|12|24|MANGA|Wit Studio|Action, Drama, Suspense|The scouts turn against their own government, which knows more about the walls than it says.
136|Hunter x Hunter|ハンター×ハンター|TV|1999|FALL|62|23|MANGA|Nippon Animation|Action, Adventure, Fantasy|A boy takes the exam of the Hunters, because his absent father is one.
11061|Hunter x Hunter (2011)|ハンター×ハンター|TV|2011|FALL|148|23|MANGA|Madhouse|Action, Adventure, Fantasy|The story of Gon and his friends told anew from the start, and much farther.
199|Spirited Away|千と千尋の神隠し|MOVIE|2001||1|124|ORIGINAL|Studio Ghibli|Adventure, Fantasy|A girl whose parents were turned into pigs works in a bath house of spirits to win them back.
164|Princess Mononoke|もののけ姫|MOVIE|1997||1|133|ORIGINAL|Studio Ghibli|Action, Adventure, Fantasy|A cursed prince comes between an iron town and the gods of the forest that it fells.
523|My Neighbor Totoro|となりのトトロ|MOVIE|1988||1|86|ORIGINAL|Studio Ghibli|Adventure, Fantasy|Two sisters move to the country and find that the wood beside the house has an owner, large and furry.
431|Howl's Moving Castle|ハウルの動く城|MOVIE|2004||1|119|NOVEL|Studio Ghibli|Adventure, Drama, Fantasy, Romance|A hatter turned into an old woman keeps house for a vain wizard in a castle that walks.
572|Nausicaä of the Valley of the Wind|風の谷のナウシカ|MOVIE|1984||1|117|MANGA|Topcraft|Adventure, Fantasy|A princess who understands the giant insects of a poisoned world tries to stop a war over it.
513|Castle in the Sky|天空の城ラピュタ|MOVIE|1986||1|125|ORIGINAL|Studio Ghibli|Adventure, Fantasy|A girl with a floating stone and a miner's boy search for an island in the clouds, and so do pirates and the army.
512|Kiki's Delivery Service|魔女の宅急便|MOVIE|1989||1|103|BOOK|Studio Ghibli|Adventure, Comedy, Fantasy|A young witch leaves home with her black cat and opens a courier service in a town by the sea.
578|Grave of the Fireflies|火垂るの墓|MOVIE|1988||1|89|NOVEL|Studio Ghibli|Drama|Brother and sister try to live on alone in the last months of the war.
416|Porco Rosso|紅の豚|MOVIE|1992||1|93|MANGA|Studio Ghibli|Adventure, Comedy, Drama|A pilot with the face of a pig hunts air pirates over the Adriatic.
32281|Your Name|君の名は。|MOVIE|2016||1|106|ORIGINAL|CoMix Wave Films|Drama, Romance, Supernatural|A boy in Tokyo and a girl in the mountains keep waking up as each other, until one day they don't.
38826|Weathering with You|天気の子|MOVIE|2019||1|112|ORIGINAL|CoMix Wave Films|Drama, Romance, Fantasy|A runaway meets a girl who can pray the rain away, at a price.
1689|5 Centimeters per Second|秒速5センチメートル|MOVIE|2007||1|63|ORIGINAL|CoMix Wave Films|Drama, Romance|Three short stories about two people whom distance pulls apart.
28851|A Silent Voice|聲の形|MOVIE|2016||1|130|MANGA|Kyoto Animation|Drama|Years after he bullied a deaf girl at school, a young man learns sign language to tell her that he is sorry.
205|Samurai Champloo|サムライチャンプルー|TV|2004|SPRING|26|24|ORIGINAL|Manglobe|Action, Adventure, Comedy|A waitress hires two quarrelling swordsmen to find the samurai who smells of sunflowers.
457|Mushishi|蟲師|TV|2005|FALL|26|25|MANGA|Artland|Fantasy, Mystery, Slice of Life|A wanderer studies the most basic forms of life, which few can see and many suffer from.
339|Serial Experiments Lain|シリアルエクスペリメンツレイン|TV|1998|SUMMER|13|23|ORIGINAL|Triangle Staff|Drama, Mystery, Sci-Fi|A shy girl gets mail from a dead classmate and finds that the network has no edge.
387|Haibane Renmei|灰羽連盟|TV|2002|FALL|13|24|DOUJINSHI|Radix|Drama, Fantasy, Mystery|In a walled town beings with grey wings hatch from cocoons without memory, and have to earn their leave.
323|Paranoia Agent|妄想代理人|TV|2004|WINTER|13|25|ORIGINAL|Madhouse|Drama, Mystery, Suspense|A boy on golden skates hits people with a bent bat, and two detectives can't tell rumour from crime.
437|Perfect Blue|パーフェクトブルー|MOVIE|1997||1|81|NOVEL|Madhouse|Drama, Suspense|A singer who becomes an actress loses hold of which of her lives is played.
1943|Paprika|パプリカ|MOVIE|2006||1|90|NOVEL|Madhouse|Fantasy, Mystery, Sci-Fi|A device that lets therapists enter dreams is stolen, and the dreams begin to leak.
759|Tokyo Godfathers|東京ゴッドファーザーズ|MOVIE|2003||1|92|ORIGINAL|Madhouse|Comedy, Drama|On Christmas Eve three homeless people find a baby and go looking for its mother.
1033|Millennium Actress|千年女優|MOVIE|2001||1|87|ORIGINAL|Madhouse|Drama, Romance|An old actress tells her life, and her interviewers find themselves inside her films.
227|FLCL|フリクリ|OVA|2000||6|25|ORIGINAL|Gainax|Action, Comedy, Sci-Fi|A woman on a yellow scooter runs a boy over, and robots start to come out of his forehead.
4224|Toradora!|とらドラ!|TV|2008|FALL|25|24|LIGHT_NOVEL|J.C.Staff|Comedy, Drama, Romance|Two classmates agree to help each other win the other's best friend.
2167|Clannad|クラナド|TV|2007|FALL|23|24|VISUAL_NOVEL|Kyoto Animation|Drama, Romance, Supernatural|A bored student helps a girl who repeats her year to bring back the drama club.
4181|Clannad: After Story|クラナド アフターストーリー|TV|2008|FALL|24|24|VISUAL_NOVEL|Kyoto Animation|Drama, Romance, Supernatural|School ends, and work, marriage and family turn out to be the harder part.
849|The Melancholy of Haruhi Suzumiya|涼宮ハルヒの憂鬱|TV|2006|SPRING|14|23|LIGHT_NOVEL|Kyoto Animation|Comedy, Mystery, Sci-Fi|A girl founds a club to meet aliens, espers and time travellers, and does not notice that they joined it.
5680|K-On!|けいおん!|TV|2009|SPRING|13|24|KOMA_4|Kyoto Animation|Comedy, Slice of Life|Four girls save their school's light music club, mostly over tea and cake.
9756|Puella Magi Madoka Magica|魔法少女まどか☆マギカ|TV|2011|WINTER|12|24|ORIGINAL|Shaft|Drama, Fantasy, Suspense|A small white creature grants any wish to girls who will fight witches, and does not mention the rest.
5081|Bakemonogatari|化物語|TV|2009|SUMMER|15|25|LIGHT_NOVEL|Shaft|Mystery, Romance, Supernatural|A student who survived a vampire helps girls who are troubled by oddities.
10087|Fate/Zero|フェイト/ゼロ|TV|2011|FALL|13|27|LIGHT_NOVEL|ufotable|Action, Fantasy, Supernatural|Seven mages summon heroes of the past to fight for a cup that grants one wish.
38000|Demon Slayer: Kimetsu no Yaiba|鬼滅の刃|TV|2019|SPRING|26|23|MANGA|ufotable|Action, Fantasy|A charcoal seller's son becomes a slayer of demons to turn his sister back into a human.
32182|Mob Psycho 100|モブサイコ100|TV|2016|SUMMER|12|24|WEB_MANGA|Bones|Action, Comedy, Supernatural|A mild schoolboy with vast psychic power works for a con man and tries to live without it.
30276|One Punch Man|ワンパンマン|TV|2015|FALL|12|24|WEB_MANGA|Madhouse|Action, Comedy|A hero wins every fight with one blow and is bored to death by it.
34599|Made in Abyss|メイドインアビス|TV|2017|SUMMER|13|25|WEB_MANGA|Kinema Citrus|Adventure, Drama, Fantasy, Mystery|An orphan and a robot boy climb down a bottomless pit from which nobody returns unharmed.
33352|Violet Evergarden|ヴァイオレット・エヴァーガーデン|TV|2018|WINTER|13|24|LIGHT_NOVEL|Kyoto Animation|Drama, Fantasy|A girl raised as a weapon writes letters for others to learn what her major's last words meant.
37521|Vinland Saga|ヴィンランド・サガ|TV|2019|SUMMER|24|24|MANGA|Wit Studio|Action, Adventure, Drama|A young Viking follows the man who killed his father, waiting for a fair duel.
52991|Frieren: Beyond Journey's End|葬送のフリーレン|TV|2023|FALL|28|24|MANGA|Madhouse|Adventure, Drama, Fantasy|An elf mage outlives the heroes with whom she beat the demon king and sets out to understand them after all.
50265|Spy x Family|スパイファミリー|TV|2022|SPRING|12|24|MANGA|Wit Studio|Action, Comedy|A spy founds a family for a mission and does not know that wife and daughter have secrets too.
232|Cardcaptor Sakura|カードキャプターさくら|TV|1998|SPRING|70|25|MANGA|Madhouse|Adventure, Comedy, Fantasy, Romance|A schoolgirl opens a book by accident and has to catch the magic cards that flew out of it.
"""

# relation | from | to
RELATIONS = """
SIDE_STORY|1|5
SEQUEL|20|1735
SEQUEL|30|32
ALTERNATIVE_SETTING|43|467
SEQUEL|121|430
ALTERNATIVE_VERSION|121|5114
SEQUEL|1575|2904
SEQUEL|9253|30484
SEQUEL|16498|25777
SEQUEL|25777|35760
ALTERNATIVE_VERSION|136|11061
SEQUEL|2167|4181
OTHER|32281|38826
"""

# mal id of the anime | characters: name/native name, main ones first; a * marks a supporting one
CHARACTERS = """
1,5|Spike Spiegel/スパイク・スピーゲル, Jet Black/ジェット・ブラック, Faye Valentine/フェイ・ヴァレンタイン, Edward Wong/エドワード・ウォン, *Ein/アイン
6|Vash the Stampede/ヴァッシュ・ザ・スタンピード, Meryl Stryfe/メリル・ストライフ, *Nicholas D. Wolfwood/ニコラス・D・ウルフウッド
19|Kenzou Tenma/天馬 賢三, Johan Liebert/ヨハン・リーベルト, *Heinrich Lunge/ハインリッヒ・ルンゲ
20,1735|Naruto Uzumaki/うずまきナルト, Sasuke Uchiha/うちはサスケ, Sakura Haruno/春野サクラ, Kakashi Hatake/はたけカカシ
21|Monkey D. Luffy/モンキー・D・ルフィ, Roronoa Zoro/ロロノア・ゾロ, Nami/ナミ, Usopp/ウソップ, Sanji/サンジ
30,32|Shinji Ikari/碇 シンジ, Rei Ayanami/綾波 レイ, Asuka Langley Soryu/惣流・アスカ・ラングレー, Misato Katsuragi/葛城 ミサト, *Gendo Ikari/碇 ゲンドウ
33|Guts/ガッツ, Griffith/グリフィス, Casca/キャスカ
43,467|Motoko Kusanagi/草薙 素子, Batou/バトー, *Togusa/トグサ, *Daisuke Aramaki/荒巻 大輔
47|Shotaro Kaneda/金田 正太郎, Tetsuo Shima/島 鉄雄, *Kei/ケイ
121,430,5114|Edward Elric/エドワード・エルリック, Alphonse Elric/アルフォンス・エルリック, *Roy Mustang/ロイ・マスタング, *Winry Rockbell/ウィンリィ・ロックベル
1535|Light Yagami/夜神 月, L/エル, *Ryuk/リューク, *Misa Amane/弥 海砂
1575,2904|Lelouch Lamperouge/ルルーシュ・ランペルージ, C.C./シーツー, Suzaku Kururugi/枢木 スザク
2001|Simon/シモン, Kamina/カミナ, Yoko Littner/ヨーコ・リットナー
269|Ichigo Kurosaki/黒崎 一護, Rukia Kuchiki/朽木 ルキア
9253,30484|Rintarou Okabe/岡部 倫太郎, Kurisu Makise/牧瀬 紅莉栖, Mayuri Shiina/椎名 まゆり, *Itaru Hashida/橋田 至
16498,25777,35760|Eren Yeager/エレン・イェーガー, Mikasa Ackerman/ミカサ・アッカーマン, Armin Arlert/アルミン・アルレルト, *Levi Ackerman/リヴァイ・アッカーマン
136,11061|Gon Freecss/ゴン=フリークス, Killua Zoldyck/キルア=ゾルディック, Kurapika/クラピカ, Leorio Paradinight/レオリオ=パラディナイト
199|Chihiro Ogino/荻野 千尋, Haku/ハク, *Yubaba/湯婆婆
164|Ashitaka/アシタカ, San/サン, *Lady Eboshi/エボシ御前
523|Satsuki Kusakabe/草壁 サツキ, Mei Kusakabe/草壁 メイ, *Totoro/トトロ
431|Sophie Hatter/ソフィー・ハッター, Howl/ハウル, *Calcifer/カルシファー
572|Nausicaä/ナウシカ, *Kushana/クシャナ
513|Sheeta/シータ, Pazu/パズー, *Dola/ドーラ
512|Kiki/キキ, Jiji/ジジ
578|Seita Yokokawa/横川 清太, Setsuko Yokokawa/横川 節子
416|Porco Rosso/ポルコ・ロッソ, Fio Piccolo/フィオ・ピッコロ
32281|Mitsuha Miyamizu/宮水 三葉, Taki Tachibana/立花 瀧
38826|Hodaka Morishima/森嶋 帆高, Hina Amano/天野 陽菜
1689|Takaki Toono/遠野 貴樹, Akari Shinohara/篠原 明里
28851|Shouya Ishida/石田 将也, Shouko Nishimiya/西宮 硝子
205|Mugen/ムゲン, Jin/ジン, Fuu/フウ
457|Ginko/ギンコ
339|Lain Iwakura/岩倉 玲音
387|Rakka/ラッカ, Reki/レキ
437|Mima Kirigoe/霧越 未麻
1943|Paprika/パプリカ, Atsuko Chiba/千葉 敦子
759|Gin/ギン, Hana/ハナ, Miyuki/ミユキ
1033|Chiyoko Fujiwara/藤原 千代子
227|Naota Nandaba/ナンダバ・ナオ太, Haruko Haruhara/ハルハラ・ハル子
4224|Ryuuji Takasu/高須 竜児, Taiga Aisaka/逢坂 大河
2167,4181|Tomoya Okazaki/岡崎 朋也, Nagisa Furukawa/古河 渚
849|Haruhi Suzumiya/涼宮 ハルヒ, Kyon/キョン, Yuki Nagato/長門 有希
5680|Yui Hirasawa/平沢 唯, Mio Akiyama/秋山 澪, Ritsu Tainaka/田井中 律, Tsumugi Kotobuki/琴吹 紬
9756|Madoka Kaname/鹿目 まどか, Homura Akemi/暁美 ほむら, *Kyubey/キュゥべえ
5081|Koyomi Araragi/阿良々木 暦, Hitagi Senjougahara/戦場ヶ原 ひたぎ
10087|Kiritsugu Emiya/衛宮 切嗣, Saber/セイバー
38000|Tanjirou Kamado/竈門 炭治郎, Nezuko Kamado/竈門 禰豆子, Zenitsu Agatsuma/我妻 善逸, Inosuke Hashibira/嘴平 伊之助
32182|Shigeo Kageyama/影山 茂夫, Arataka Reigen/霊幻 新隆
30276|Saitama/サイタマ, Genos/ジェノス
34599|Riko/リコ, Reg/レグ, *Nanachi/ナナチ
33352|Violet Evergarden/ヴァイオレット・エヴァーガーデン
37521|Thorfinn/トルフィン, Askeladd/アシェラッド
52991|Frieren/フリーレン, Fern/フェルン, Stark/シュタルク, *Himmel/ヒンメル
50265|Loid Forger/ロイド・フォージャー, Anya Forger/アーニャ・フォージャー, Yor Forger/ヨル・フォージャー
232|Sakura Kinomoto/木之本 桜, *Kero/ケルベロス
"""

# mal id | date of the first episode, if they came a week apart | titles of the first episodes
EPISODES = """
1|1998-10-24|Asteroid Blues; Stray Dog Strut; Honky Tonk Women; Gateway Shuffle; Ballad of Fallen Angels; Sympathy for the Devil
30|1995-10-04|Angel Attack; The Beast; A Transfer; Hedgehog's Dilemma; Rei I; Rei II
1535|2006-10-04|Rebirth; Confrontation; Dealings; Pursuit; Tactics
5114|2009-04-05|Fullmetal Alchemist; The First Day; City of Heresy; An Alchemist's Anguish
16498|2013-04-07|To You, in 2000 Years: The Fall of Shiganshina, Part 1; That Day: The Fall of Shiganshina, Part 2; A Dim Light Amid Despair: Humanity's Comeback, Part 1
339|1998-07-06|Weird; Girls; Psyche; Religion; Distortion
205|2004-05-20|Tempestuous Temperaments; Redeye Reprisal; Hellhounds for Hire, Part 1; Hellhounds for Hire, Part 2
457|2005-10-23|The Green Seat; The Light of the Eyelid; Tender Horns; The Pillow Pathway
9756|2011-01-07|I First Met Her in a Dream... or Something; That Would Be Truly Wonderful; I'm Not Afraid of Anything Anymore
227||Fooly Cooly; Fire Starter; Marquis de Carabas; Full Swing; Brittle Bullet; FLCLimax
30276|2015-10-05|The Strongest Man; The Lone Cyborg; The Obsessive Scientist
52991||The Journey's End; It Didn't Have to Be Magic...; Killing Magic; The Land Where Souls Rest
50265|2022-04-09|Operation Strix; Secure a Wife; Prepare for the Interview
32182|2016-07-12|Self-Proclaimed Psychic: Reigen Arataka ~And Mob~; Doubts About Youth ~The Telepathy Club Appears~
33352|2018-01-11|I Love You and Auto Memory Dolls; Never Coming Back
"""


def rows(text):
    return [line.split("|") for line in text.strip().splitlines()]


def name_id(name):
    return str(uuid.uuid5(SPACE, name))


def url(mal):
    return f"https://myanimelist.net/anime/{mal}"


def day(first, weeks):
    from datetime import date, timedelta
    return (date.fromisoformat(first) + timedelta(weeks=weeks)).isoformat()


def events():
    anime = {row[0]: row for row in rows(ANIME)}
    related = {}
    for kind, one, other in rows(RELATIONS):
        related.setdefault(one, []).append((kind, other))
    cast = {}
    for owners, names in rows(CHARACTERS):
        owners = owners.split(",")
        for text in names.split(", "):
            main = not text.startswith("*")
            name, native = text.lstrip("*").split("/")
            character = {"id": name_id(f"character:{owners[0]}:{name}"), "entityType": "ENTITY_TYPE_CHARACTER",
                         "name": name, "nameNative": native,
                         "roles": ["CHARACTER_ROLE_MAIN" if main else "CHARACTER_ROLE_SUPPORTING"],
                         "animeIds": [name_id(f"mal:anime:{o}") for o in owners]}
            for owner in owners:
                cast.setdefault(owner, []).append(character)
    titles = {mal: (first, names.split("; ")) for mal, first, names in rows(EPISODES)}
    for mal, row in anime.items():
        _, title, native, kind, year, season, count, minutes, source, studio, genres, synopsis = row
        ident = name_id(f"mal:anime:{mal}")
        body = {"id": ident, "entityType": "ENTITY_TYPE_ANIME", "title": title, "titleEnglish": title,
                "titleJapanese": native, "type": f"ANIME_TYPE_{kind}",
                "status": "ANIME_STATUS_FINISHED" if int(count) else "ANIME_STATUS_ONGOING",
                "year": int(year), "duration": int(minutes) * 60, "synopsis": synopsis, "nsfw": False,
                "sourceMaterial": f"SOURCE_MATERIAL_TYPE_{source}", "genres": genres.split(", "),
                "studios": [{"name": studio}], "sources": [url(mal)], "countryOfOrigin": "JP"}
        if int(count):
            body["episodeCount"] = int(count)
        if season:
            body["season"] = f"ANIME_SEASON_{season}"
        for relation, other in related.get(mal, ()):
            body.setdefault("relatedAnime", {}).setdefault(relation, {"items": []})["items"].append(
                {"title": anime[other][1], "type": f"ANIME_TYPE_{anime[other][3]}", "sources": [url(other)]})
        event = {"eventId": name_id(f"event:mal:anime:{mal}"), "timestamp": STAMP, "animeId": ident,
                 "anime": body}
        if mal in cast:
            event["characters"] = cast[mal]
        if mal in titles:
            first, names = titles[mal]
            event["episodes"] = []
            for n, text in enumerate(names, 1):
                episode = {"id": name_id(f"episode:mal:anime:{mal}:{n}"), "entityType": "ENTITY_TYPE_EPISODE",
                           "animeId": ident, "episodeNumber": n, "title": text, "duration": int(minutes) * 60}
                if first:
                    episode["aired"] = day(first, n - 1) + "T00:00:00Z"
                event["episodes"].append(episode)
        event["enrichmentMetadata"] = {"pipelineVersion": "sample-1", "sourcesUsed": ["mal"],
                                       "enrichedAt": STAMP}
        yield event


def main():
    text = "".join(json.dumps(e, ensure_ascii=False, separators=(",", ":")) + "\n" for e in events())
    if "--check" in sys.argv:
        return int(TARGET.read_text(encoding="utf-8") != text)
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
