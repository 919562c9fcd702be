"""Result files of this project and of its peers, one reader each."""
