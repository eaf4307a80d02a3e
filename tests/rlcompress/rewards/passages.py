"""Short passages with questions, as data sets have them; every answer is a span of its passage."""

from __future__ import annotations

from rlcompress.words import Example

ROWS = [
    (
        "The Lindqvist bridge was opened in 1931 after four years of work. It spans the river Torne between two small "
        "towns that had until then relied on a ferry. The engineer Maria Holm designed the arch, and her brother built "
        "the model that hangs in the town hall. Today about 4,000 cars cross it every day.",
        "Who designed the arch of the bridge?",
        "Maria Holm",
    ),
    (
        "In the spring the committee met three times to discuss the budget. The largest item was the new library, "
        "which was to cost 2.4 million euro and to be finished by June. Several members wanted to repair the old "
        "school first, but the vote on 12 April went against them. The mayor called the result a clear mandate.",
        "How much was the new library to cost?",
        "2.4 million euro",
    ),
    (
        "Basalt forms when lava that is rich in iron and magnesium cools quickly at the surface. The columns of the "
        "Giant's Causeway are the best known example. Slow cooling underground gives gabbro instead, a rock of the "
        "same composition with crystals that can be seen with the naked eye.",
        "Which rock does slow cooling underground give?",
        "gabbro",
    ),
    (
        "Captain Ferreira left Lisbon with two ships and eighty men. A storm near Madeira drove the smaller ship back, "
        "and only the Santa Clara reached Salvador in November. There the crew sold the cloth and bought sugar, which "
        "paid for the voyage twice over. Ferreira himself died of fever before the return.",
        "Which ship reached Salvador in November?",
        "Santa Clara",
    ),
    (
        "The museum keeps its collection of clocks on the second floor. The oldest was made in Nuremberg in 1540 and "
        "still runs, although it loses ten minutes a day. Visitors may not touch it. A copy in the shop downstairs, "
        "made by students of the technical college, can be wound by anybody who asks.",
        "When was the oldest clock made in Nuremberg?",
        "1540",
    ),
    (
        "Lake Orsa freezes in December and is open again by the end of April. Fishermen cut holes through the ice for "
        "perch, while skaters keep to a track that the village clears after each snowfall. In warm winters such as "
        "2008 the track was closed for weeks and the race was moved to Falun.",
        "Where was the race moved in warm winters?",
        "Falun",
    ),
    (
        "The second edition of the dictionary added nine hundred words, most of them from chemistry and medicine. Its "
        "editor, Thomas Grey, had asked doctors all over the country to send slips with quotations. When he died in "
        "1888 the letter S was not finished, and his daughter Alice completed the work alone.",
        "Who completed the work on the dictionary when the editor died?",
        "his daughter Alice",
    ),
    (
        "Each hive holds up to sixty thousand bees in summer and a tenth of that in winter. The keeper takes about "
        "fifteen kilograms of honey from it in August and leaves the rest as food. In return she feeds sugar in "
        "September, treats the hive against mites and wraps it in straw before the first frost.",
        "How many kilograms of honey does the keeper take in August?",
        "fifteen",
    ),
]

PASSAGES = [Example(f"p#{n}", text, question, answer, group=str(n)) for n, (text, question, answer) in enumerate(ROWS)]
