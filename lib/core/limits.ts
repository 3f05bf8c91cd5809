/** Every bound of the program that is not a flag. A full queue refuses; it never grows. */

const KIB = 1024;
const MIB = 1024 * KIB;

/** Largest request body. OpenAI allows 50 MB of pictures a request; base64 adds a third. */
export const BODY_BYTES_MAX = 68 * MIB;
/** Bytes of a body outside its JSON strings: brackets and numbers are dear to parse, pictures in strings are not. */
export const JSON_STRUCTURE_BYTES_MAX = 4 * MIB;
/** Largest single picture file, as OpenAI's own limit. */
export const IMAGE_FILE_BYTES_MAX = 20 * MIB;
/** Largest picture, counted from its header before anything is decoded: 64 million pixels is 256 MB of RGBA. */
export const IMAGE_PIXELS_MAX = 64_000_000;
/** Largest side of a picture. */
export const IMAGE_SIDE_MAX = 16_384;
/** Most pictures of one request. */
export const IMAGES_PER_REQUEST_MAX = 128;
/** Time for downloading one picture from an allowed host. */
export const IMAGE_DOWNLOAD_MS_MAX = 10_000;
/** Most messages of one request. */
export const MESSAGES_MAX = 4_096;
/** Longest text of one request, characters over all parts. Anything longer cannot fit a context either. */
export const PROMPT_CHARACTERS_MAX = 4 * MIB;
/** Stop strings of one request, and the longest of them (characters). */
export const STOP_STRINGS_MAX = 4;
export const STOP_STRING_CHARACTERS_MAX = 256;
/** Messages of one request that compression leaves alone: each is rendered and tokenized once more to be found. */
export const PROTECTED_MESSAGES_MAX = 8;
/** Longest `cache_salt`, characters. */
export const CACHE_SALT_CHARACTERS_MAX = 256;
/** Fields of a body that are not known and are looked at for slips in their names. */
export const FIELD_NAMES_COMPARED_MAX = 64;
/** Most alternatives reported a token. */
export const TOP_LOGPROBS_MAX = 20;

/** Slots of a KV page when keys and values are f16. Other dtypes pack more or fewer into the same bytes. */
export const PAGE_SLOTS_F16 = 16;
/** Slots that one attention partial covers. Fixed, so that sums do not depend on the batch. */
export const ATTENTION_SPLIT_SLOTS = 64;

/** Requests that may wait beside the running ones before new ones are refused with 429. */
export const WAITING_REQUESTS_MAX = 512;
/** Prompt tokens that may wait beside the running ones; a lone prompt may be longer. */
export const WAITING_TOKENS_MAX = 262_144;
/** How long a full channel waits for its reader before the request gives everything back. */
export const READER_TIMEOUT_MS = 60_000;
/** Pictures whose decoded pixels may wait for the encoder at one time. */
export const DECODED_IMAGES_MAX = 64;
/** Bytes of picture features that are kept for requests that show the same picture again. */
export const IMAGE_CACHE_BYTES = 64 * MIB;
/** Events of one stream that may wait for a slow reader; then its sequence pauses. */
export const STREAM_EVENTS_MAX = 256;
/** Messages an actor's mailbox holds. Every sender is bounded by admission, so a full mailbox is our mistake. */
export const MAILBOX_MESSAGES_MAX = 16_384;
/** Requests that wait for their second answer by the shadow guard, and the bytes of their pictures. */
export const SHADOW_WAITING_MAX = 8;
export const SHADOW_PICTURE_BYTES_MAX = 64 * MIB;
/** Tokens of an answer that it compares. */
export const SHADOW_TOKENS_MAX = 256;
/** Methods and ratios that it tells apart; clients choose ratios, so there is an end to them. */
export const SHADOW_KEYS_MAX = 64;
/** Interval of SSE comments while a request waits. */
export const KEEP_ALIVE_MS = 5_000;
