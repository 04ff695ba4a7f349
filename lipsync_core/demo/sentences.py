"""What the demo speakers say: sentences written for this project, rich in p/b/m, f/v and o/u/w.

Data only. `ENGLISH` is cut in pairs, one pair a clip; `OTHER` holds whole texts by language.
"""

ENGLISH: tuple[str, ...] = (
    "Most people in our village buy warm bread before the church bell rings at five.",
    "My brother moved a piano up four floors, and nobody helped him with the stool.",
    "If the ferry leaves at noon, we may have enough time for a bowl of soup.",
    "Purple flowers grow beside the railway, where the wind blows them towards the wall.",
    "Could you show me the photographs of your mother's garden in early June?",
    "A family of foxes lived behind the bakery, and they loved apple pie.",
    "The judge wore a plain brown robe, but her shoes were bright yellow.",
    "Every Wednesday the boys play football until somebody breaks a window.",
    "Please put the blue paper on the shelf above the empty fish bowl.",
    "We walked along the river for an hour, and then it began to snow.",
    "Peter's new phone fell into the pond, so he borrowed mine for the afternoon.",
    "Have you ever tasted wild mushrooms with butter, pepper and fresh thyme?",
    "The old museum smells of wax, and the floor moves when you walk on it.",
    "Five small planes flew over our roof while the baby was asleep.",
    "Nobody knows why the moon looks bigger when it hangs above the hills.",
    "Bring me two pillows, a warm blanket, and something boring to read.",
    "My favourite movie is about a farmer who builds a boat from broken doors.",
    "The teacher spoke slowly, because most of the pupils came from abroad.",
    "When the power failed, we lit a few candles and told each other jokes.",
    "Fresh paint on the fence means you should not lean there in your best coat.",
    "Our neighbour keeps bees, and in summer he gives us a whole pot of honey.",
    "You would be amazed how far a swallow can fly without any food.",
    "The postman brought a heavy box, but the label was far too wet to read.",
    "Whoever put that spoon in my pocket has a very odd sense of humour.",
    "I would prefer a room with a view, even if the bath is down the hall.",
    "A thin fog covered the valley, so the bus moved at a walking pace.",
    "Please remember to feed the parrot, and do not believe what he says.",
    "The marble in this temple was brought by ship from the far south.",
    "Why do pumpkins become so enormous when you leave them alone?",
    "Above the fireplace hangs a map of the world as it was before the war.",
    "We bought five pounds of plums, and now we have jam for the whole winter.",
    "Somebody opened the window, and all my papers blew across the room.",
    "The film was over before midnight, but we both stayed up until two.",
    "Both of them promised to be on time, and both of them forgot.",
    "Move the lamp a bit to the left, otherwise the shadow falls on your book.",
    "My aunt paints pebbles, wraps them in paper, and posts them to her friends.",
    "The bakery on the corner opens at six, and by seven the rolls are gone.",
    "How many bottles of water should we take up the mountain tomorrow?",
    "A good map is worth more than a fast horse when you cross a marsh.",
    "The young doctor bowed politely, and then he beat everybody at chess.",
    "Maybe we could move the meeting to Monday, when Paul is back from Rome.",
    "There were whales near the harbour, blowing water high above the waves.",
    "The violin was made from maple wood, and it still sounds wonderful.",
    "If you boil the beans for too long, they become as soft as pudding.",
    "Who would have thought that such a small pump could empty a whole pool?",
    "My bicycle has a bell, a basket, and a very uncomfortable saddle.",
    "The weather forecast says fog, but I can see the sun above the roof.",
    "Before you go, please show Barbara how the coffee machine works.",
    "They painted the whole bridge green, from the water up to the lamps.",
    "Few of us believed him, but the elephant really was in the bathroom.",
    "The farmer's wife sold wool at the market and came home with a puppy.",
    "I have never found a better place for thinking than a slow, warm train.",
    "Open the map on the table, and put your cup on the corner to hold it.",
    "On very quiet evenings you could hear both of the rivers from the porch.",
    "Our team lost by four points, but the people clapped for us anyway.",
    "The book fell open at the page where my father had written his name.",
    "A wooden puppet with a broken arm was sitting above the shop door.",
    "We should move before the tide comes in and the path is under water.",
    "Paula wove a beautiful basket from the willow beside our pond.",
    "The manager smiled, folded the letter twice, and put it in a drawer.",
    "Does anybody want the last piece of the apricot and almond tart?",
    "Behind the mill there is a pool where we swam when we were young.",
    "The robot bumped into the sofa, turned around, and vacuumed my slipper.",
    "Perhaps the best part of the voyage was the morning we saw the islands.",
    "The choir practised for a month, and nobody forgot a single word.",
    "Fill the pot with water, add a pinch of salt, and wait until it bubbles.",
    "My uncle swears that the north wind blows only when he has washed the car.",
    "The boat was full of melons, and the whole harbour smelled of them.",
    "When you pass the blue house, follow the wall until you come to a well.",
    "Few things are as pleasant as warm rain on a roof above your bed.",
    "The tailor measured my arm twice, and both times he got it wrong.",
    "Four of the players have the flu, so the coach may play himself.",
    "Would you move over, please, so that my mother can see the parade?",
    "Everything we own fits in a van, apart from the plum tree of course.",
    "The pupils built a model of the town from matches, paper and glue.",
    "A bowl of porridge, an open window, and a bit of music: that is my morning.",
)

OTHER: dict[str, tuple[str, ...]] = {
    "de": (
        "Meine Oma backt am Samstag immer Brot und Kuchen. Wir bringen ihr Blumen, Butter und "
        "frische Pflaumen vom Markt mit, und am Abend spielen wir Karten.",
        "Der Bus kommt um halb vier, wenn es nicht schneit. Bitte nimm den blauen Mantel mit, "
        "denn oben auf dem Berg weht ein furchtbar kalter Wind.",
    ),
    "es": (
        "Mi abuelo vive en un pueblo blanco cerca del mar. Por la tarde prepara una sopa muy buena "
        "con patatas, pimientos y un poco de pan, y todos comemos juntos.",
        "Mañana vamos a visitar el museo con mi prima. Después podemos beber un café en la plaza "
        "y hablar de las vacaciones, porque falta muy poco para el verano.",
    ),
    "fr": (
        "Ma voisine a un petit jardin plein de fleurs. Chaque matin, elle ouvre la fenêtre, boit "
        "un bol de café, et parle doucement avec ses deux chats.",
        "Nous avons pris le bateau pour voir les îles. Il faisait beau, mais un vent très fort "
        "a emporté mon chapeau, et tout le monde a bien ri.",
    ),
    "it": (
        "Mia madre prepara il pane ogni domenica mattina. Poi apriamo la finestra, beviamo un buon "
        "caffè, e parliamo per un'ora di tutto e di niente.",
        "Il treno parte alle nove e passa vicino al mare. Porta un libro, una bottiglia d'acqua, "
        "e qualcosa di buono da mangiare, perché il viaggio è lungo.",
    ),
}

SAMPLE = (
    "Welcome aboard. From this platform you have a wonderful view of the whole valley, "
    "so please move forward and take your photographs."
)
