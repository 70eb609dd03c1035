/** How an English clause ends: finished, asking, or with more to come. Of text without marks at its end, lower case. */
import type { Shape } from './turn-words-shape.ts';

const words = (list: string): ReadonlySet<string> => new Set(list.split(' '));

/** No clause ends with these. */
const NEVER_LAST = words(
  'a an the my your his her our their its this these those every each some any no ' +
    'and but or nor because since although though if unless until while when where which who whose whom ' +
    'than as of to from with into onto without between against toward towards during except per via ' +
    "i we he she they i'm we're he's she's they're you're it's that's there's here's what's i've we've i'd we'd i'll " +
    "we'll you'll it'll who's where's let's " +
    'is are was were am been gets makes should might must ' +
    'very really quite just almost especially including ' +
    'mr mrs ms dr also next plus ' +
    'want wanted need needed wanna gonna gotta trying supposed calling says said saying called named wondering',
);
/** End clauses now and then: "come in", "what for", "I thought that". */
const SELDOM_LAST = words(
  'in on at by for over under near up out off that it you about has had have will would could can do does did be actually ' +
    'maybe probably yeah yes no so then very really',
);

/** Fill the time at the end of anything; and alone, they only begin. */
const FILLERS = words(
  'um umm uh uhh er erm hmm hm like well so oh and but actually yeah hi hey listen look basically',
);
const ALONE_ENOUGH = words('yeah hi hey hmm hm actually');
const LATE_FILLERS = words('um umm uh uhh er erm like well so');
/** Prepositions that a short clause does not end with, and words with which one only begins. */
const NEEDS_OBJECT = words('in on at by for under near about with');
const BEGINNING = words('how that why what where there when it you can do does did have will');
const SO_OF_OPINION = /(?:think|guess|hope|believe|say|suppose) so$/;
const THINKING =
  /(?:^|\s)(?:um+|uh+|erm?|hm+|you know|i mean|(?:let me|i'd have to|i have to|i need to|i'll) (?:go |just )?(?:see|check|look|think|find|get|grab)(?: (?:it|that|my|the|for|at|up|here)\b.{0,16})?|let's see|hold on|hang on|one (?:sec|second|moment)|just a (?:sec|second|moment|minute)|how do i (?:put|say) (?:this|it)|give me a (?:sec|second|moment|minute)|oh wait|one more thing|another thing|(?:no,? )?sorry|no wait)$/;
/** "Yes, I do", "it is", "I can": short and whole. */
const ELLIPTIC =
  /(?:^|\s)(?:(?:i|we|you|they|he|she|it|that|there|yes|no|yeah) (?:is|are|was|were|am|do|does|did|have|has|had|will|would|can|could|should|might|may)|(?:i|we|they) (?:already )?(?:want|need|said|wanted|needed)|(?:that's|this is|here's) (?:what|all|how|where) .{1,20})$/;

/** "The one I'm calling from", "where my package is": the words that these belong to came before. */
const STRANDED =
  /\b(?:the (?:one|number|person|place|same)|what|who|where|which|how|when|why|that)\b.* (?:from|to|for|with|about|into|is|are|was|were|been)$/;

const CLOSING =
  /(?:^|\s)(?:(?:thanks?|thank you)(?: (?:so|very) much| a lot| again| you)?|(?:good)?bye(?: bye)?|that's (?:it|all|everything|fine|okay|great)|that is all|that will be all|that'll be all|nothing else|i'm good|have a (?:good|nice|great) (?:one|day|night|evening))$/;
const ASKING_START =
  /^(?:(?:and|so|but|well|um|uh|okay|oh|hi|hello|hey|yeah|yes|no|also|then|sorry|wait|listen|alright)[, ]+)*(?:what|where|when|who|whose|which|why|how|(?:can|could|will|would|do|does|did|is|are|am|was|were|should|may|have|has) (?:i|you|we|they|he|she|it|there|that|this|the|my|your|anyone|someone))\b/;
/** "Are you", "and could I": the verb is still to come. */
const BARE_INVERSION =
  /(?:^|(?:and|so|but|oh|um|uh|okay|hi|also|then) )(?:can|could|will|would|do|does|did|is|are|was|should|may|have) (?:i|you|we|they|he|she|it|there|the|my|your)$/;
const CLAUSE = /^(?:and |but |so |well )*(?:if|because|when|since|although|while|unless)\b/;

export function shapeEn(tail: string): Shape {
  if (CLOSING.test(tail)) return 'closing';
  if (THINKING.test(tail)) return 'thinking';
  const all = tail.split(' ');
  const last = all.at(-1) ?? '';
  if (all.length === 1 && FILLERS.has(last)) return ALONE_ENOUGH.has(last) ? 'open' : 'thinking';
  if (all.length > 1 && LATE_FILLERS.has(last) && !SO_OF_OPINION.test(tail)) return 'thinking';
  if (all.length <= 3 && last === 'actually') return 'thinking';
  if (NEVER_LAST.has(last) && !ELLIPTIC.test(tail) && !STRANDED.test(tail)) return 'unfinished';
  if (BARE_INVERSION.test(tail)) return 'unfinished';
  if (ASKING_START.test(tail) && all.length >= 3)
    return SELDOM_LAST.has(last) ? 'finished' : 'asking';
  if (CLAUSE.test(tail) && all.length < 9) return 'unfinished';
  if (all.length <= 3 && NEEDS_OBJECT.has(last)) return 'unfinished';
  if (all.length === 1 && BEGINNING.has(last)) return 'unfinished';
  if (SELDOM_LAST.has(last)) return 'open';
  return all.length >= 3 ? 'finished' : 'open';
}

const AGREES =
  /^(?:(?:yes|yeah|yep|yup|yea|ya|sure|ok|okay|right|correct|exactly|absolutely|definitely|certainly|of course|fine|that's (?:fine|right|correct|okay|good|great|it|me)|that (?:works|is correct)|it is|it does|i do|i am|i have|i will|i can|we do|we have|sounds good|sure thing|alright|all right|go ahead|please|please do|perfect|great|mhm|mm hmm|uh huh|i guess(?: so)?|sir|ma'am)\s?)+$/;
const REFUSES =
  /^(?:(?:no|nope|nah|not really|no way|never|not yet|i don't|i haven't|i'm not|i can't|it isn't|it's not|we don't|we haven't|don't|no thanks|no thank you|not at all|not now|sorry)\s?)+$/;
const GREETS =
  /^(?:(?:hello|hi|hey|good (?:morning|afternoon|evening)|there|yes|yeah|how are you)\s?)+$/;

/** Says that he cannot give what he was asked for, or does not want what was offered: the next words tell why. */
const DENIES =
  /^(?!.*\b(?:no thanks?|no thank you|that's (?:it|all)|nothing|not (?:really|right now|at all)|anything)\b).*\b(?:no|not|don't|doesn't|didn't|won't|can't|haven't|hasn't|isn't|aren't|wasn't|couldn't|lost|forgot)\b/;

/** Wants no more: "no thanks", "nothing else". */
const ENOUGH =
  /^(?:no|nope|nah|nothing|not (?:right )?now|not really|no (?:thanks|thank you|that's (?:it|all|fine|okay))|i'm (?:good|fine|all set)|i think that's (?:it|all)|(?:no )?you've been .+)$/;
export const isEnoughEn = (text: string): boolean => ENOUGH.test(text);
export const deniesEn = (text: string): boolean => DENIES.test(text);
export const agreesEn = (text: string): boolean => AGREES.test(text);
export const refusesEn = (text: string): boolean => REFUSES.test(text);
export const greetsEn = (text: string): boolean => GREETS.test(text);
